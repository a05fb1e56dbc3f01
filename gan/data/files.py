"""Lookup of the data set's files in a user's folder, with hints about files that have a similar name."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from gan.data.catalog import FILE_NAMES, Kind, Split
from gan.errors import DataError

CLASS_NAMES_FILE = "class-names.txt"
EXPECTED_NAMES = ", ".join(f"{name}.gz" for name in FILE_NAMES.values()) + "; unpacked files, without .gz, also work"

MAX_ENTRIES, MAX_SIMILAR = 1000, 3
"""Limits: entries that are read from a folder, and similar files that a message names for each missing file."""

_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".bz2", ".xz", ".zst")
_UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".tmp")
_OTHER_FORMATS = (".npy", ".npz", ".csv", ".txt", ".json", ".mat", ".pt", ".pkl", ".parquet", ".png", ".jpg", ".h5")
_LIKE_CLASS_NAMES = re.compile(r"(class(es)?|label)[\W_]*names?|classes", re.IGNORECASE)


class NoFolderError(DataError):
    """The folder does not exist. This is not worth a warning when other sources can be tried."""


def check_is_folder(folder: Path, title: str) -> None:
    """Raise NoFolderError if a folder does not exist, and DataError if a file is in its place."""
    if folder.is_file():
        raise DataError(
            f"{folder} is a file; expected a folder that holds the four files of {title}.\n"
            f"If it is an archive, unpack it. Give the folder with {EXPECTED_NAMES}."
        )
    if not folder.is_dir():
        raise NoFolderError(
            f"There is no folder {folder}.\nGive a folder that holds the four files of {title} ({EXPECTED_NAMES})."
        )


def find_file(folder: Path, name: str) -> Path:
    """Return the path of the packed file `<name>.gz`, or else of the unpacked file `name`.

    Raises:
        DataError: If both are missing; the message names similar files and says what to do with each.
    """
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    hints = "".join(f"\n  - {hint}" for hint in _describe_similar_files(folder))
    advice = "Put the missing file there and run again. To make such files from pictures: docs/operations.md."
    if hints:
        advice = f"These files look like missing ones:{hints}"
    raise DataError(f"{folder} has neither {name}.gz nor {name}.\n{advice}")


def find_class_names(folder: Path) -> Path | None:
    """Return the path of the file with the class names; None if the folder has no such file.

    Raises:
        DataError: If a file has a similar name, since it would be ignored silently otherwise.
    """
    path = folder / CLASS_NAMES_FILE
    if path.is_file():
        return path
    if path.exists() or path.is_symlink():
        raise DataError(f"{path} is no file, or a link to none.\nReplace it by a file, or remove it.")
    for name in _list_names(folder):
        if _LIKE_CLASS_NAMES.fullmatch(name.partition(".")[0]) and (folder / name).is_file():
            raise DataError(
                f"{folder} has no {CLASS_NAMES_FILE}, but {_printable(name)}; class names are read from "
                f"{CLASS_NAMES_FILE} only.\nRename it to {CLASS_NAMES_FILE} (UTF-8, one name per line, in the order of "
                "the labels), or move it out of the folder if it holds something else."
            )
    return None


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Convert an OSError about a file of the folder to a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror or error}.") from error


def _describe_similar_files(folder: Path) -> list[str]:
    """Return hints for files in a folder and its direct subfolders whose names resemble those of missing files."""
    names = {Path(): _list_names(folder)}
    names |= {Path(name): _list_names(folder / name) for name in names[Path()] if (folder / name).is_dir()}
    hints = []
    for (split, kind), name in FILE_NAMES.items():
        if (folder / name).is_file() or (folder / f"{name}.gz").is_file():
            continue
        similar = (
            parent / found
            for parent, children in names.items()
            for found in children
            if _resembles(found, split, kind) and not (folder / parent / found).is_dir()
        )
        hints += [_advise(folder, path, name) for path in islice(similar, MAX_SIMILAR)]
    return hints


def _list_names(folder: Path) -> list[str]:
    """Return the sorted names of a folder's entries; none if the folder cannot be read."""
    try:
        with os.scandir(folder) as found:
            return sorted(entry.name for entry in islice(found, MAX_ENTRIES))
    except OSError:
        return []


def _resembles(name: str, split: Split, kind: Kind) -> bool:
    """Return whether a file name mentions this split and no other, and this kind and no other."""
    words = name.casefold()
    is_train, is_test = "train" in words, bool(re.search(r"t10k|(?<![a-z])(test|val)", words))
    is_images, is_labels = bool(re.search(r"image|idx3", words)), bool(re.search(r"label|idx1", words))
    is_split = is_train and not is_test if split == "train" else is_test and not is_train
    return is_split and (is_images and not is_labels if kind == "images" else is_labels and not is_images)


def _advise(folder: Path, path: Path, name: str) -> str:
    """Describe a file that resembles the missing file `name`, and say what to do with it."""
    shown, suffixes = _printable(str(path)), path.name.casefold()
    target = f"{name}.gz" if re.search(r"\.gz\b", suffixes) else name
    if not (folder / path).exists():
        return f"{shown} is a link to a file that does not exist: repair it."
    if suffixes.endswith(_UNFINISHED):
        return f"{shown} is an unfinished download: download it again, as {target}."
    if suffixes.endswith(_ARCHIVES):
        return f"{shown} is an archive: unpack it, and name its content {name}."
    if suffixes.endswith(_OTHER_FORMATS):
        return f"{shown} is in another format: write it in the IDX format, as {name}."
    if path.name == target:
        return f"{shown} is in a subfolder: put all four files into one folder, and give it as --data-dir."
    return f"{shown}: rename it to {target}" + ("." if path.parent == Path() else f", and move it to {folder}.")


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)
