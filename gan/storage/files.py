"""Helpers for single files: digests, arrays of plain numbers, sizes of archives, atomic writes."""

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
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_array(path: Path) -> np.ndarray:
    """Map an untrusted `.npy` file into memory, read-only; raise StoreError unless it is an array of plain numbers."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise StoreError(
            f"{path} holds no array of plain numbers: {error}.\n"
            "It is not a file that this project wrote. Remove it, and run the same command again."
        ) from error
    return array


def check_unpacked_size(path: Path, max_bytes: int) -> None:
    """Raise StoreError if a zip archive declares more than `max_bytes` unpacked bytes; nothing is unpacked.

    The declared sizes are reliable limits: Python reads no more of an entry than it declares.
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
    """Yield a temporary path in the target's folder; rename it to `target` on success, remove it on failure."""
    target.parent.mkdir(parents=True, exist_ok=True)
    start = os.fsencode(target.name)[:100].decode(errors="ignore")  # names of files are limited in bytes
    handle, name = tempfile.mkstemp(prefix=f".{start}.", suffix=".partial", dir=target.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with suppress(OSError):  # the file system may have no modes
            partial.chmod(0o644)  # mkstemp makes files that only their owner can read
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
