"""Show a published run in the Prefect UI: an overview, pictures, metrics, and the list of files."""

import json
import logging
import os
import re
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from gan.judging.definitions import describe_metric
from gan.report.front_page import FrontPage
from gan.report.glance import published_tiles
from gan.report.markup import code_span, data_uri, escape_markdown
from gan.report.trend import trend_line, trend_markdown
from gan.runs.champion import describe_champion_status
from gan.runs.publish import METRICS_FILE
from gan.storage.store import Store
from tasks.records import PublishedRun

PAGES_URL_VARIABLE, DEFAULT_PAGES_URL = "FASHION_GAN_PAGES_URL", "http://127.0.0.1:4280"
log = logging.getLogger(__name__)

TREND = "trend"
"""Key of the artifact whose versions are the trend after each run."""


def pages_url(path: str = "") -> str:
    """Return the address of a file of the output folder on the server of its pages (`flows.server.pages`)."""
    return f"{(os.environ.get(PAGES_URL_VARIABLE) or DEFAULT_PAGES_URL).rstrip('/')}/{quote(path)}"


def overview_key(run: str) -> str:
    """Return the key of a run's overview, in the characters that keys may have.

    Each run has its own, so that the UI's page Artifacts has a card for each run. Other keys are shared: their card
    shows the newest run, and the page of a run has its own artifacts.
    """
    plain = re.sub("[^a-z0-9]+", "-", run.lower()).strip("-")
    return f"overview-{plain}" if plain == run else f"overview-{plain}-{sha256(run.encode()).hexdigest()[:8]}"


def create_artifacts(store: Store, run: PublishedRun, disk: str) -> None:
    """Create the artifacts of the current flow run from a published run, new or cached.

    Pictures are data URIs in markdown, because the UI shows no local files. A picture in a description becomes a
    thumbnail. `disk` is the size of the output folder, in words.
    """
    folder = store.root / "runs" / run.name
    content = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    _create_overview(store, folder, content)
    _create_pictures(folder, run.name)
    create_table_artifact(
        key="metrics",
        table=[_metric_row(name, metric) for name, metric in content["metrics"].items()],
        description="Generated images against the test split; the floor is the same for real training images",
    )
    digest = (folder / "report.md").read_text(encoding="utf-8")
    create_markdown_artifact(
        key="report",
        markdown=f"{digest}\n\n## Files\n\n{_file_list(folder, run)}\n\nDisk: {escape_markdown(disk)}",
        description=f"Digest, and where the files are: {escape_markdown(str(folder))}",
    )


def create_trend(page: FrontPage | None) -> None:
    """Create the artifact that shows all runs over time, if there are any; a failure is only a warning."""
    if page is None or page.last is None:
        return
    try:
        markdown = f"# Trend\n\n{trend_markdown(page, pages_url)}"
        create_markdown_artifact(key=TREND, markdown=markdown, description=trend_line(page))
    except Exception as error:  # the run is published
        log.warning("The trend is not shown in the UI: %s", type(error).__name__)


def _create_overview(store: Store, folder: Path, content: dict[str, Any]) -> None:
    verdict = f"{escape_markdown(content['badge'])}: {escape_markdown(content['verdict'])}"
    create_markdown_artifact(
        key=overview_key(folder.name),
        markdown=f"# {folder.name}\n\n**{verdict}**\n\n{_tile_table(content)}\n\n"
        f"{escape_markdown(describe_champion_status(store.root, folder.name))}\n\n{_differences(content)}"
        f"{_data_warnings(content)}"
        f"**[Report, with the blind test]({pages_url(f'runs/{folder.name}/report.html')})** · "
        f"[All runs]({pages_url('index.html')}) · [Trend](/artifacts/key/{TREND})\n\n"
        f"As a file: {code_span(str(folder / 'report.html'))}\n\n"
        f"{_picture(folder / 'quality.png', 'Fréchet distance and recall at every snapshot')}",
        description=f"{_image(folder / 'real_above_generated.png', 'Real images above generated ones')} {verdict}",
    )


def _tile_table(content: dict[str, Any]) -> str:
    """Return the four numbers of the report's tiles as a table, with the reason where one must not be read as usual."""
    tiles = published_tiles(content)
    rows = [f"| {tile.title} | {tile.value} | {tile.real} | {tile.doubt} |" for tile in tiles]
    return "\n".join(["| Averaged weights | This run | Real images | |", "|---|---:|---:|---|", *rows])


def _create_pictures(folder: Path, name: str) -> None:
    grid = _picture(folder / "samples_grid.png", "64 fixed latents")
    create_markdown_artifact(
        key="final-grid",
        markdown=f"# {name}\n\nMore images of the same snapshot:\n\n{grid}",
        description=_thumbnail(folder / "final_grid.png", "Nine fixed latents after the last step, last weights"),
    )
    create_markdown_artifact(
        key="real-beside-fake",
        markdown="| Real (test split) | Averaged weights (not selected) | Same latents, last weights |\n|---|---|---|\n"
        f"| {_picture(folder / 'real_grid.png', 'real', 245)} "
        f"| {_picture(folder / 'average_grid.png', 'averaged weights', 245)} "
        f"| {_picture(folder / 'last_grid.png', 'last weights', 245)} |",
        description=_thumbnail(
            folder / "real_above_generated.png", "Real images above generated ones (averaged weights)"
        ),
    )
    rows = _picture(folder / "class_rows.png", "Real and generated images of every class")
    create_markdown_artifact(
        key="class-rows",
        markdown=f"# Class by class\n\n{rows}",
        description="A row of real and a row of generated images (averaged weights) for every class, up to ten classes",
    )
    create_markdown_artifact(
        key="nearest-training-images",
        markdown="# Does it copy, or repeat itself?\n\nEach generated image is above the image nearest to it. First "
        "ten arbitrary images and their nearest training images, then the ten nearest to a training image, then "
        "the ten nearest to another generated image.\n\n"
        f"{_picture(folder / 'neighbours.png', 'Generated images and their neighbours')}",
        description=_thumbnail(folder / "neighbours.png", "Generated images (averaged weights) above the nearest ones"),
    )


def _picture(path: Path, alt: str, width: int | None = None) -> str:
    size = f' width="{width}"' if width else ""
    return f'<img src="{data_uri(path)}" alt="{alt}"{size}>'


def _thumbnail(path: Path, words: str) -> str:
    return f"{_image(path, words)} {words}"


def _image(path: Path, alt: str) -> str:
    return f"![{alt}]({data_uri(path)})"


def _metric_row(name: str, metric: dict[str, Any]) -> dict[str, str]:
    reasons = "; ".join(dict.fromkeys(metric.get("undefined", {}).values()))
    note = f". Not defined: {reasons}" if reasons else ""
    columns = {"averaged weights": "average", "last weights": "value", "floor (real)": "floor"}
    return {
        "metric": metric["title"],
        **{column: describe_metric(name, metric[key]) for column, key in columns.items()},
        "n": f"{metric['n']:,}" + (f" (floor {metric['floor_n']:,})" if metric["floor_n"] != metric["n"] else ""),
        "features, and how to read it": f"{metric['extractor']}: {metric['reading']}{note}",
    }


def _differences(content: dict[str, Any]) -> str:
    """List the metrics that are better or worse than the reference's; return nothing without a reference."""
    if content["reference"] is None:
        return ""
    titles = {"average": "Averaged weights", "value": "Last weights"}
    lines = [
        f"- {title}, {verdict}: " + ", ".join(row["title"] for row in rows if row["verdict"] == verdict)
        for title, rows in ((title, content["differences"][kind].values()) for kind, title in titles.items())
        for verdict in ("better", "worse", "not defined")
        if any(row["verdict"] == verdict for row in rows)
    ]
    reference = escape_markdown(content["reference"])
    against, made = f"Against {reference}, beyond noise:", "The report lists what differs in how both were made.\n\n"
    return f"{against} nothing. {made}" if not lines else against + "\n\n" + "\n".join(lines) + f"\n\n{made}"


def _data_warnings(content: dict[str, Any]) -> str:
    lines = "".join(f"- {escape_markdown(warning)}\n" for warning in content["data_warnings"])
    return f"About the data:\n\n{lines}\n" if lines else ""


def _file_list(folder: Path, run: PublishedRun) -> str:
    rows = [f"| `{Path(ref.key).relative_to(f'runs/{run.name}')}` | {ref.size:,} |" for ref in run.published]
    return "\n".join([f"In {code_span(str(folder))}:", "", "| file | bytes |", "|---|---:|", *rows])
