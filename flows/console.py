"""What the person at the terminal sees beside Prefect's own log lines."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from gan.errors import FashionGanError
from gan.report import describe_number, describe_seconds
from gan.store import Store
from tasks.records import PublishedRun


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
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("Run", str(folder))
    table.add_row("Report", str(folder / "report.html"))
    for metric in content["metrics"].values():
        value, floor = describe_number(metric["value"]), describe_number(metric["floor"])
        table.add_row(metric["title"], f"{value} (real: {floor}; n = {metric['n']:,}, {metric['extractor']})")
    training = content["training"]
    table.add_row(
        "Training",
        f"{describe_seconds(training['training_seconds'])} on {training['device']}, "
        f"{training['milliseconds_per_step']} ms a step",
    )
    table.add_row("Prefect UI", "make server, then open http://127.0.0.1:4200")
    console = Console(highlight=False)
    console.print()
    console.print(table)
