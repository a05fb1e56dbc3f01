"""The content of folders, without following links."""

import math
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path


def entries(folder: Path) -> list[Path]:
    """Return the content of a folder; nothing if the folder does not exist or is a link."""
    return [] if folder.is_symlink() or not folder.is_dir() else sorted(folder.iterdir())


def files_in(folder: Path) -> list[Path]:
    """Return the files of a folder, without links."""
    return [path for path in entries(folder) if path.is_file() and not path.is_symlink()]


def folders_in(folder: Path) -> list[Path]:
    """Return the visible folders of a folder, without links."""
    visible = (path for path in entries(folder) if not path.name.startswith("."))
    return [path for path in visible if path.is_dir() and not path.is_symlink()]


def _walk(path: Path) -> Iterator[os.stat_result]:
    """Yield the status of a path and of all below it, without following links; skip what disappears meanwhile."""
    inside = () if path.is_symlink() else os.walk(path)
    below = (Path(folder, name) for folder, folders, files in inside for name in (*folders, *files))
    for found in chain([path], below):
        with suppress(OSError):
            yield found.lstat()


def newest_change(path: Path) -> float:
    """Return the latest time of a change of a path or of anything below it, in seconds since the epoch."""
    return max((status.st_mtime for status in _walk(path)), default=0.0)


def oldest_file(path: Path) -> float:
    """Return the time of the last change of the oldest file below a path, in seconds since the epoch; else infinity."""
    files = (status.st_mtime for status in _walk(path) if not stat.S_ISDIR(status.st_mode))
    return min(files, default=math.inf)


def size_of(path: Path, since: float = -math.inf) -> int:
    """Return the size in bytes of all files that were written since a time, in seconds since the epoch.

    A file with several hard links, as the champion's, counts once.
    """
    files = (status for status in _walk(path) if not stat.S_ISDIR(status.st_mode) and status.st_mtime >= since)
    return sum({(status.st_dev, status.st_ino): status.st_size for status in files}.values())
