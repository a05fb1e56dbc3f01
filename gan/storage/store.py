"""A content-addressed store: files that are named by their SHA-256.

Stages write their files to the store and pass on `FileRef`s. Each read verifies the file against its reference, so a
reference means the same bytes on every machine. Machines that share no file system can share an object store; the local
folder then holds copies of its files.

    <root>/store/ab/abcdef....npy     files, named by their SHA-256
    <root>/store/.partial/            files that are being written; they are never read
    <root>/.results/                  result records of the stages, written by the orchestrator
    <root>/scratch/<name>/            unfinished work that survives a kill (checkpoints)
    <root>/runs/<name>/               published runs
    <root>/.in-use/                   locks and marks of running processes (gan/storage/locks.py)

    <object store>/store/ab/abcdef....npy    files, including those of published runs
    <object store>/.results/<key>            records of finished stages, plain JSON
"""

import errno
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from gan.errors import StoreError
from gan.storage.file_system import check_file_system, check_is_text
from gan.storage.files import read_array, sha256_of
from gan.storage.links import check_links
from gan.storage.locks import IN_USE, shared_root_lock
from gan.storage.object_store import ObjectStore
from gan.storage.plain_json import to_json


class FileRef(BaseModel, frozen=True, extra="forbid"):
    """A reference to a file: its path below the root of the store, and its expected bytes."""

    key: str = Field(
        pattern=r"^(store|runs)(/[A-Za-z0-9][A-Za-z0-9._-]*)+$",
        description="path below the store's root, with forward slashes; it cannot leave the root",
    )
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the bytes, in hexadecimal")
    size: int = Field(ge=0, description="bytes")

    @classmethod
    def stored(cls, sha256: str, size: int, suffix: str) -> "FileRef":
        """Return the reference to a file of the store, which is named by its content."""
        return cls(key=f"store/{sha256[:2]}/{sha256}{suffix}", sha256=sha256, size=size)

    def by_content(self) -> "FileRef":
        """Return the reference to the same bytes in the store; the key of a published file is different."""
        return self.stored(self.sha256, self.size, PurePosixPath(self.key).suffix)


def _matches(path: Path, ref: FileRef) -> bool:
    try:
        return path.stat().st_size == ref.size and sha256_of(path) == ref.sha256
    except OSError:
        return False


@dataclass(frozen=True)
class Store:
    """Content-addressed files in a local folder, and optionally in an object store that other machines use as well."""

    root: Path
    remote: ObjectStore | None = None

    @classmethod
    def open(cls, root: Path, store_url: str | None = None) -> "Store":
        """Make the output folder, and check that it and the object store at `store_url` support what a run needs.

        Raises:
            StoreError: If the folder or the object store cannot be used.
            SettingsError: If the path of the folder is not valid UTF-8.
        """
        store = cls(root.absolute())
        check_is_text(store.root)
        for folder in (store.root, store.partial_dir):
            check_file_system(folder)
        for folder in (store.results_dir, store.scratch_root):
            if folder.exists():  # another user may have made it
                check_file_system(folder)
        if (store.root / IN_USE).exists():
            with shared_root_lock(store.root):
                pass
        check_links(store.root)
        return cls(store.root, ObjectStore.open(store_url)) if store_url else store

    @property
    def partial_dir(self) -> Path:
        """Folder of files that are being written."""
        return self.root / "store" / ".partial"

    @property
    def results_dir(self) -> Path:
        """Folder of the stages' result records."""
        return self.root / ".results"

    @property
    def scratch_root(self) -> Path:
        """Folder of the unfinished work of all stages."""
        return self.root / "scratch"

    def scratch_dir(self, name: str) -> Path:
        """Return the folder of unfinished work that survives a kill, such as checkpoints."""
        return self.scratch_root / name

    def put_file(self, write: Callable[[Path], object], suffix: str) -> FileRef:
        """Store the complete file that `write` writes to the given path, which ends in `suffix` (such as ".npy").

        Replace any file with this key: it may be damaged, or so old that pruning is about to remove it.
        """
        self.partial_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.partial_dir) as folder:
            partial = Path(folder) / f"file{suffix}"
            try:
                write(partial)
            except OSError as error:
                if error.errno is not None:
                    raise
                raise OSError(errno.ENOSPC, str(error)) from error  # NumPy, h5py and Pillow omit the number
            ref = FileRef.stored(sha256_of(partial), partial.stat().st_size, suffix)
            self._move_into_place(partial, ref)
        return ref

    def put_bytes(self, content: bytes, suffix: str) -> FileRef:
        """Store bytes."""
        return self.put_file(lambda path: path.write_bytes(content), suffix)

    def put_array(self, array: np.ndarray) -> FileRef:
        """Store an array of plain numbers as `.npy`."""
        return self.put_file(lambda path: np.save(path, array, allow_pickle=False), ".npy")

    def put_json(self, content: Mapping[str, Any]) -> FileRef:
        """Store plain values as JSON."""
        return self.put_bytes(f"{to_json(content)}\n".encode(), ".json")

    def is_local(self, ref: FileRef) -> bool:
        """Return whether the folder holds the file with exactly the bytes of the reference."""
        return _matches(self.root / ref.key, ref)

    def is_available(self, ref: FileRef) -> bool:
        """Return whether the file is available from the folder or from the object store."""
        return not self.missing([ref])

    def missing(self, refs: Iterable[FileRef]) -> list[FileRef]:
        """Return the files that neither the folder (by their bytes) nor the object store (by their size) holds."""
        return self._missing_remotely([ref for ref in refs if not self.is_local(ref)])

    def path(self, ref: FileRef) -> Path:
        """Return the verified local path of a file, after downloading it from the object store if necessary.

        Raises:
            StoreError: If the file is missing or altered; transient for failures of the network.
        """
        if not self.is_local(ref) and not self._download(ref):
            places = f"{self.root} or {self.remote.url}" if self.remote else self.root
            raise StoreError(
                f"The stored file {ref.key} is missing or was altered.\n"
                f"Expected {ref.size} bytes with SHA-256 {ref.sha256} in {places}. "
                "Run the same command again: it makes the file again."
            )
        return self.root / ref.key

    def share(self, refs: Iterable[FileRef]) -> None:
        """Upload the files that the object store lacks, and renew the others; do nothing without an object store."""
        if self.remote:
            by_key = {ref.by_content().key: ref for ref in refs}
            for (key, ref), size in zip(by_key.items(), self.remote.sizes(by_key, renew=True), strict=True):
                if size != ref.size:
                    with self.path(ref).open("rb") as file:
                        self.remote.write(key, file)

    def load_array(self, ref: FileRef) -> np.ndarray:
        """Map a stored array of plain numbers into memory, read-only."""
        return read_array(self.path(ref))

    def _missing_remotely(self, refs: list[FileRef]) -> list[FileRef]:
        if not self.remote or not refs:
            return refs
        sizes = self.remote.sizes(ref.by_content().key for ref in refs)
        return [ref for ref, size in zip(refs, sizes, strict=True) if size != ref.size]

    def _download(self, ref: FileRef) -> bool:
        """Download a file from the object store; empty an object with other bytes, so that it counts as missing."""
        key = ref.by_content().key
        size = self.remote.size(key) if self.remote else None
        if not self.remote or size is None:
            return False
        self.partial_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.partial_dir) as folder:
            partial = Path(folder) / "file"
            if size == ref.size and self.remote.download(key, partial) and _matches(partial, ref):
                self._move_into_place(partial, ref)
                return True
        self.remote.write(key, b"")
        return False

    def _move_into_place(self, partial: Path, ref: FileRef) -> None:
        target = self.root / ref.key
        with shared_root_lock(self.root):  # or pruning, which saw an old file of this name, removes this one
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(target)
