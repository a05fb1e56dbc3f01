"""The files of a data set in a folder of the user's: found by their names, or by what their names look like."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from gan.data.catalog import FILE_NAMES, Kind, Split
from gan.errors import DataError

CLASS_NAMES_FILE = "class-names.txt"

MAX_ENTRIES, MAX_NEAR = 1000, 3
"""Entries of a folder that are looked at, and files that are named for each one that is missing."""

_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".bz2", ".xz", ".zst")
_UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".tmp")
_OTHER_FORMATS = (".npy", ".npz", ".csv", ".txt", ".json", ".mat", ".pt", ".pkl", ".parquet", ".png", ".jpg", ".h5")
_NEAR_CLASS_NAMES = re.compile(r"(class(es)?|label)[\W_]*names?|classes", re.IGNORECASE)


class NoFolderError(DataError):
    """There is no such folder: no news when a source is one of many."""


def expected_names() -> str:
    """The names of all four files, for people."""
    return ", ".join(f"{name}.gz" for name in FILE_NAMES.values()) + "; unpacked ones, without .gz, serve as well"


def check_is_folder(folder: Path, title: str) -> None:
    """Refuse a folder that is not there.

    Raises:
        NoFolderError: Says what it should hold: the four files of the data set called `title`.
        DataError: If it is a file.
    """
    if folder.is_file():
        raise DataError(
            f"{folder} is a file; expected a folder that holds the four files of {title}.\nUnpack it if it is an "
            f"archive, and give the folder with {expected_names()}."
        )
    if not folder.is_dir():
        raise NoFolderError(
            f"There is no folder {folder}.\nGive one that holds the four files of {title} ({expected_names()})."
        )


def find_file(folder: Path, name: str) -> Path:
    """The file of that name in a folder, packed if there is a packed one.

    Raises:
        DataError: If there is neither; says which files there look like one that is missing, and what to do.
    """
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    near = "".join(f"\n  - {line}" for line in describe_near_files(folder))
    advice = f"These files look like missing ones:{near}" if near else "Put the missing file there and run again."
    raise DataError(f"{folder} has neither {name}.gz nor {name}.\n{advice}")


def find_class_names(folder: Path) -> Path | None:
    """The file with the names of the classes; None if there is none.

    Raises:
        DataError: If there is none, but a file whose name nearly fits: it would be passed over without a word.
    """
    path = folder / CLASS_NAMES_FILE
    if path.exists():
        return path
    near = [
        name
        for name in _entries(folder)
        if _NEAR_CLASS_NAMES.fullmatch(name.partition(".")[0]) and (folder / name).is_file()
    ]
    if near:
        raise DataError(
            f"{folder} has no {CLASS_NAMES_FILE}, but {_shown(near[0])}; names of classes are read from "
            f"{CLASS_NAMES_FILE} alone.\nRename it to {CLASS_NAMES_FILE} (UTF-8, one name a line, in the order of the "
            "labels), or move it out of the folder if it holds something else."
        )
    return None


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Within it, a file of the folder that the system refuses to read is an error for the user."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror or error}.") from error


def describe_near_files(folder: Path) -> list[str]:
    """Find what looks like a missing file of a data set, in a folder and in the folders directly below it.

    Args:
        folder: An existing folder.

    Returns:
        One text for each find: what it is, and what to do with it. At most `MAX_NEAR` for each missing file.
    """
    entries = {Path(): _entries(folder)}
    entries |= {Path(name): _entries(folder / name) for name in entries[Path()] if (folder / name).is_dir()}
    lines = []
    for (split, kind), name in FILE_NAMES.items():
        if any((folder / there).is_file() for there in (name, f"{name}.gz")):
            continue
        near = (
            (below / entry, name)
            for below, names in entries.items()
            for entry in names
            if _looks_like(entry, split, kind) and not (folder / below / entry).is_dir()
        )
        lines += [_what_to_do(folder, path, name) for path, name in islice(near, MAX_NEAR)]
    return lines


def _entries(folder: Path) -> list[str]:
    """Names of what is in a folder, sorted; a folder that cannot be read has nothing to tell."""
    try:
        with os.scandir(folder) as found:
            return sorted(entry.name for entry in islice(found, MAX_ENTRIES))
    except OSError:
        return []


def _looks_like(entry: str, split: Split, kind: Kind) -> bool:
    """Whether a name speaks of a split and a kind, in whatever words, order and case."""
    words = entry.casefold()
    is_train, is_test = "train" in words, bool(re.search(r"t10k|(?<![a-z])(test|val)", words))
    is_images, is_labels = bool(re.search(r"image|idx3", words)), bool(re.search(r"label|idx1", words))
    return (is_train, is_test) == (split == "train", split == "test") and (is_images, is_labels) == (
        kind == "images",
        kind == "labels",
    )


def _what_to_do(folder: Path, path: Path, name: str) -> str:
    """What a file is that looks like the one of that name, and what to do with it."""
    shown, entry = _shown(str(path)), path.name.casefold()
    target = f"{name}.gz" if re.search(r"\.gz\b", entry) else name
    if not (folder / path).exists():
        return f"{shown} is a link to a file that is not there: mend it."
    if entry.endswith(_UNFINISHED):
        return f"{shown} is an unfinished download: download it again, as {target}."
    if entry.endswith(_ARCHIVES):
        return f"{shown} is an archive: unpack it, and call what it holds {name}."
    if entry.endswith(_OTHER_FORMATS):
        return f"{shown} is in another format: write it in the IDX format, as {name}."
    if path.name == target:
        return f"{shown} lies in a folder below: put all four files into one folder, and give it as --data-dir."
    return f"{shown}: rename it to {target}" + ("." if path.parent == Path() else f", and move it to {folder}.")


def _shown(name: str) -> str:
    """A name for people; what cannot be printed is escaped."""
    return name if name.isprintable() else ascii(name)
