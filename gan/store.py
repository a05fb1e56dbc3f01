"""Files named by their content.

A stage gives its files to the store and passes on `FileRef`s: what lies at a key is checked against the reference
whenever it is read, so that the same reference means the same bytes on every machine that shares the store.

    <root>/store/ab/abcdef....npy     files, named by their SHA-256
    <root>/store/.partial/            files being written; never read
    <root>/.results/                  result records of the stages (the orchestrator's)
    <root>/scratch/<name>/            unfinished work that outlives a kill (checkpoints)
    <root>/runs/<name>/               published runs
    <root>/.in-use/                   who is at work (gan/locks.py)
"""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from gan.errors import StoreError
from gan.locks import undisturbed


class FileRef(BaseModel):
    """A file by content: where it lies below the store's root, and what its bytes must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(description="path below the store's root, with forward slashes")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the bytes, in hexadecimal")
    size: int = Field(ge=0, description="bytes")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a path to write to, in the target's folder; on success it becomes `target`, on failure it is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)  # mkstemp makes private files; what we publish is for everybody
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def lock_of(scratch: Path) -> Path:
    """The lock file of a scratch folder, beside it; `gan.locks.alone` makes and removes it."""
    return scratch.with_name(f"{scratch.name}.lock")


@dataclass(frozen=True)
class Store:
    """Content-addressed files below one local folder."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> "Store":
        """Make the folders if need be and check that they can be written.

        Raises:
            StoreError: If the folder cannot be made or written to.
        """
        store = cls(root.expanduser().absolute())
        try:
            store.partial_dir.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=store.partial_dir):
                pass
            with tempfile.TemporaryFile(dir=store.root):
                pass
        except OSError as error:
            raise StoreError(
                f"The output folder {root} cannot be written: {error.strerror or error}.\n"
                "Give a folder that you may write to with --output-dir."
            ) from error
        return store

    @property
    def partial_dir(self) -> Path:
        """Folder of files that are being written."""
        return self.root / "store" / ".partial"

    @property
    def results_dir(self) -> Path:
        """Folder for the result records of the stages, beside the files they point to."""
        return self.root / ".results"

    def scratch_dir(self, name: str) -> Path:
        """Folder for unfinished work that outlives a kill, such as checkpoints."""
        return self.root / "scratch" / name

    def put_file(self, write: Callable[[Path], object], suffix: str) -> FileRef:
        """Let `write` fill a file, then file it under its content.

        Args:
            write: Called with a path that ends in `suffix`; writes the whole file there.
            suffix: File name extension with its dot, such as ".npy".

        Returns:
            The reference. An earlier file of the same key is replaced, so that a damaged one heals and none is old.
        """
        self.partial_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.partial_dir) as folder:
            partial = Path(folder) / f"file{suffix}"
            try:
                write(partial)
            except OSError as error:
                if error.errno is not None:
                    raise
                raise OSError(errno.ENOSPC, str(error)) from error  # as NumPy, h5py and Pillow say it: without a number
            sha256 = sha256_of(partial)
            ref = FileRef(key=f"store/{sha256[:2]}/{sha256}{suffix}", sha256=sha256, size=partial.stat().st_size)
            target = self.root / ref.key
            with undisturbed(self.root):  # an equal file, old and about to be removed, must not take this one along
                target.parent.mkdir(parents=True, exist_ok=True)
                partial.replace(target)
        return ref

    def put_bytes(self, content: bytes, suffix: str) -> FileRef:
        """File `content` under its SHA-256."""
        return self.put_file(lambda path: path.write_bytes(content), suffix)

    def put_array(self, array: np.ndarray) -> FileRef:
        """File an array of plain numbers as `.npy` (no pickle)."""
        return self.put_file(lambda path: np.save(path, array, allow_pickle=False), ".npy")

    def put_json(self, content: Mapping[str, Any]) -> FileRef:
        """File plain values as JSON for people."""
        return self.put_bytes((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(), ".json")

    def is_intact(self, ref: FileRef) -> bool:
        """Whether the file is there with exactly the bytes of the reference."""
        path = self.root / ref.key
        try:
            return path.stat().st_size == ref.size and sha256_of(path) == ref.sha256
        except OSError:
            return False

    def path(self, ref: FileRef) -> Path:
        """The verified local path of a file.

        Raises:
            StoreError: If the file is missing or not the one that was stored.
        """
        if not self.is_intact(ref):
            raise StoreError(
                f"The stored file {ref.key} is missing or was altered.\n"
                f"Expected {ref.size} bytes with SHA-256 {ref.sha256} in {self.root}. "
                "Run the same command again: the stage that made it notices and makes it anew."
            )
        return self.root / ref.key

    def load_array(self, ref: FileRef) -> np.ndarray:
        """A stored array, memory-mapped and read-only."""
        array: np.ndarray = np.load(self.path(ref), mmap_mode="r", allow_pickle=False)
        return array
