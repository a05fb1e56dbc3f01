"""What the person at the terminal sees beside Prefect's own log lines."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from gan.errors import FashionGanError
from gan.report import describe_number, describe_seconds
from gan.store import Store
from tasks.records import PublishedRun

UI_COMMAND, UI_ADDRESS = "make server", "http://127.0.0.1:4200"


@contextmanager
def quiet_expected_errors() -> Iterator[None]:
    """Keep the tracebacks of errors that explain themselves out of the terminal; the UI's logs still have them."""

    def without_traceback(record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info, tuple) and isinstance(record.exc_info[1], FashionGanError):
            record.exc_info = record.exc_text = None
        return True

    handlers = logging.getLogger().handlers
    for handler in handlers:
        handler.addFilter(without_traceback)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(without_traceback)


def print_summary(store: Store, run: PublishedRun) -> None:
    """Where the result is, what it is worth, and how to look at it."""
    folder = store.root / "runs" / run.name
    content = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    rows = {"Run": str(folder), "Report": str(folder / "report.html")}
    for metric in content["metrics"].values():
        value, floor = describe_number(metric["value"]), describe_number(metric["floor"])
        rows[metric["title"]] = f"{value}; real images: {floor} ({metric['extractor']}, n = {metric['n']:,})"
    training = content["training"]
    seconds, device = describe_seconds(training["training_seconds"]), training["device"]
    rows["Training"] = f"{seconds} on {device}, {training['milliseconds_per_step']} ms a step"
    rows["Prefect UI"] = f"{UI_COMMAND}, then open {UI_ADDRESS}"
    console = Console(highlight=False, soft_wrap=True)
    console.print()
    for name, value in rows.items():
        console.print(f"[bold]{name:<18}[/]", end="")
        console.print(value, markup=False)
