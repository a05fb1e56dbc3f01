"""How soon the disk of an output folder will be full."""

import shutil
import time
from pathlib import Path

from rich.filesize import decimal

from gan.storage.folders import oldest_file, size_of

DAY_SECONDS = 24 * 60 * 60
DAYS = 7


def days_until_full(root: Path, free: int) -> float | None:
    """Return the days until a disk is full if every day as much is written as on average in the last week.

    What is removed meanwhile is not counted.

    Args:
        root: The output folder.
        free: Free bytes of its disk.

    Returns:
        None if nothing was written in the last week, or if the store has no file that is a day old.
    """
    now = time.time()
    written = size_of(root.resolve(), now - DAYS * DAY_SECONDS)
    # The folder itself may be older than the first run, as in a checkout of this code.
    days = min(DAYS, (now - oldest_file((root / "store").resolve())) / DAY_SECONDS)
    return free / (written / days) if written and days >= 1 else None


def describe_forecast(root: Path) -> str:
    """Return a sentence if the disk of an output folder will be full within a week; otherwise an empty string."""
    free = shutil.disk_usage(root).free
    days = days_until_full(root, free)
    if days is None or days >= DAYS:
        return ""
    left = "less than a day" if days < 1 else f"{days:.0f} day{'s' if round(days) > 1 else ''}"
    return f"{decimal(free)} are free; the disk will be full in {left} if every day writes as much as lately."
