"""Files: digests, arrays of plain numbers, and files that appear whole or not at all."""

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from gan.errors import StoreError


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_array(path: Path) -> np.ndarray:
    """An array of plain numbers, memory-mapped and read-only; nothing in the file is executed.

    Raises:
        StoreError: If the file holds anything else, such as pickled objects.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise StoreError(
            f"{path} holds no array of plain numbers: {error}.\n"
            "It is not a file that this project wrote. Remove it, and run the same command again."
        ) from error
    return array


def check_unpacked_size(path: Path, max_bytes: int) -> None:
    """Refuse a zip archive that would unpack to more, before any of it is unpacked.

    No entry yields more than it declares: that is as far as Python reads it.

    Raises:
        StoreError: If it declares more than `max_bytes`.
        OSError: If it cannot be read.
        zipfile.BadZipFile: If it is no zip archive.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > max_bytes:
        raise StoreError(
            f"{path} unpacks to {size:,} bytes; expected at most {max_bytes:,}. Nothing of it was unpacked.\n"
            "Give a file that this project wrote."
        )


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a path to write to, in the target's folder; on success it becomes `target`, on failure it is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with suppress(OSError):  # a file system without modes
            partial.chmod(0o644)  # mkstemp makes private files; what we publish is for everybody
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
