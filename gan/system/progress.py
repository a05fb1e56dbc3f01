"""Progress for whoever looks: a bar in a terminal, a line now and then in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

LINES_IN_A_LOG = 10
SECONDS_BETWEEN_LINES = 10.0

Unit = Literal["bytes", "steps"]
Update = Callable[[int, str], None]
"""Called with what is done so far, in units, and a short note on it."""


log = logging.getLogger(__name__)


@contextmanager
def progress(description: str, total: int, *, unit: Unit) -> Iterator[Update]:
    """Show how far a long job is.

    Args:
        description: What is being done, a few words.
        total: Units in the whole job.
        unit: What is counted.

    Yields:
        A function to call with the units done so far and a note; cheap enough to be called at every step. What was
        done at its first call counts as done before: the time that is left is reckoned from there.
    """
    if sys.stderr.isatty():
        with _bar(description, total, unit) as update:
            yield update
    else:
        yield _lines(description, total, unit)


@contextmanager
def _bar(description: str, total: int, unit: Unit) -> Iterator[Update]:
    counts: ProgressColumn = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        counts,
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as bar:
        task = bar.add_task(description, total=total, start=False, note="")

        def update(done: int, note: str) -> None:
            if not bar.tasks[task].started:
                bar.reset(task, completed=done)
            bar.update(task, completed=done, note=note)

        yield update


def _lines(description: str, total: int, unit: Unit) -> Update:
    share = max(1, total // LINES_IN_A_LOG)
    first: tuple[int, float] | None = None  # what was done at the first call, and when that was
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
