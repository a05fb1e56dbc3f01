"""Progress of a long job: a bar in a terminal, or occasional lines in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from rich import progress as rich_progress
from rich.console import Console

LINES_IN_A_LOG = 10
SECONDS_BETWEEN_LINES = 10.0

Unit = Literal["bytes", "steps", "parts"]
Update = Callable[[int, str], None]
"""Function that is called with the number of units done so far and a short note."""

log = logging.getLogger(__name__)


@contextmanager
def progress(description: str, total: int, *, unit: Unit) -> Iterator[Update]:
    """Show the progress of a long job of `total` units; yield the function to call with the units done and a note.

    The first call sets the starting point from which the remaining time is estimated.
    """
    if sys.stderr.isatty():
        with _show_bar(description, total, unit) as update:
            yield update
    else:
        yield _log_lines(description, total, unit)


@contextmanager
def _show_bar(description: str, total: int, unit: Unit) -> Iterator[Update]:
    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.DownloadColumn() if unit == "bytes" else rich_progress.MofNCompleteColumn(),
        rich_progress.TimeRemainingColumn(),
        rich_progress.TextColumn("{task.fields[note]}"),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as bar:
        task = bar.add_task(description, total=total, start=False, note="")

        def update(done: int, note: str) -> None:
            if not bar.tasks[task].started:
                bar.reset(task, completed=done)
            bar.update(task, completed=done, note=note)

        yield update


def _log_lines(description: str, total: int, unit: Unit) -> Update:
    share = max(1, total // LINES_IN_A_LOG)
    first: tuple[int, float] | None = None  # units done and time at the first call
    last_share, last_time = 0, 0.0

    def update(done: int, note: str) -> None:
        nonlocal first, last_share, last_time
        now = time.monotonic()
        if first is None:
            first, last_share, last_time = (done, now), done // share, now
        if done // share == last_share or now - last_time < SECONDS_BETWEEN_LINES:
            return
        last_share, last_time = done // share, now
        seconds_left = (now - first[1]) / (done - first[0]) * (total - done)
        count = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB" if unit == "bytes" else f"{unit[:-1]} {done:,} of {total:,}"
        log.info("%s: %s, %.0f s left%s%s", description, count, seconds_left, ", " if note else "", note)

    return update
