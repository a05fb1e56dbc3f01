"""The summary that a run prints in the terminal when it ends."""

import json
from pathlib import Path

from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL
from rich.filesize import decimal

from gan.command import terminal
from gan.formatting import describe_number, describe_seconds
from gan.report.glance import glance_line
from gan.runs.champion import describe_champion_status
from gan.runs.disk import describe_forecast
from gan.runs.pruning import DEFAULT_DAYS, disk_use
from gan.runs.publish import METRICS_FILE
from gan.storage.store import Store
from tasks.records import PublishedRun

UI_ADDRESS = "http://127.0.0.1:4200"


def print_summary(store: Store, run: PublishedRun) -> None:
    """Print where the result is, how good it is, and how to view it."""
    folder = store.root / "runs" / run.name
    content = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    training = content["training"]
    milliseconds = training.get("milliseconds_per_step")  # a training resumed after its last step has none
    pace = f", {describe_number(milliseconds)} ms a step" if milliseconds else ""
    rows = {
        "Run": str(folder),
        "Report": str(folder / "report.html"),
        "Verdict": f"{content['badge']}. {content['verdict']}",
        "At a glance": glance_line(content),
        "Champion": describe_champion_status(store.root, run.name),
        "Warning": " ".join(content["warnings"]),
        "Data": " ".join(content["data_warnings"]),
        "Training": f"{describe_seconds(training['training_seconds'])} on {training['device']}{pace}",
        "Disk": ". ".join(filter(None, (describe_disk(store.root), describe_forecast(store.root)))),
        "Prefect UI": PREFECT_UI_URL.value() if PREFECT_API_URL.value() else f"make server, then open {UI_ADDRESS}",
    }
    console = terminal()
    console.print()
    for name, value in rows.items():
        if value:
            console.print(f"{name:<12}", style="bold", end="")
            console.print(value)


def describe_disk(root: Path) -> str:
    """Return the size of an output folder, and how much of it can be removed, in words."""
    used, removable = disk_use(root)
    if removable is None:
        return f"{decimal(used)} in {root} (make prune says why it cannot be determined what to remove)"
    if not removable:
        return f"{decimal(used)} in {root}, all of it needed or used in the last {DEFAULT_DAYS} days"
    return f"{decimal(used)} in {root}, {decimal(removable)} of it could be pruned (make prune)"
