"""Progress for whoever looks: a bar in a terminal, a line now and then in a log."""

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

Log = Callable[[str], object]
Unit = Literal["bytes", "steps"]
Update = Callable[[int, str], None]
"""Called with what is done so far, in units, and a short note on it."""


@contextmanager
def progress(description: str, total: int, *, unit: Unit, log: Log, initial: int = 0) -> Iterator[Update]:
    """Show how far a long job is.

    Args:
        description: What is being done, a few words.
        total: Units in the whole job.
        unit: What is counted.
        log: Takes a line where there is no terminal.
        initial: Units that were done before.

    Yields:
        A function to call with the units done so far and a note; cheap enough to be called at every step.
    """
    if sys.stderr.isatty():
        with _bar(description, total, unit, initial) as update:
            yield update
    else:
        yield _lines(description, total, unit, log, initial)


@contextmanager
def _bar(description: str, total: int, unit: Unit, initial: int) -> Iterator[Update]:
    counts: ProgressColumn = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        counts,
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as bar:
        task = bar.add_task(description, total=total, completed=initial, note="")
        yield lambda done, note: bar.update(task, completed=done, note=note)


def _lines(description: str, total: int, unit: Unit, log: Log, initial: int) -> Update:
    share = max(1, total // LINES_IN_A_LOG)
    started = last_time = time.monotonic()
    last_share = initial // share

    def update(done: int, note: str) -> None:
        nonlocal last_share, last_time
        if done // share == last_share:
            return
        now = time.monotonic()
        if now - last_time < SECONDS_BETWEEN_LINES:
            return
        last_share, last_time = done // share, now
        seconds_left = (now - started) / (done - initial) * (total - done)
        count = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB" if unit == "bytes" else f"{unit[:-1]} {done:,} of {total:,}"
        log(f"{description}: {count}, {seconds_left:.0f} s left{', ' if note else ''}{note}")

    return update
