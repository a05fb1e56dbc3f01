"""Files named by their content.

A stage gives its files to the store and passes on `FileRef`s: what lies at a key is checked against the reference
whenever it is read, so that the same reference means the same bytes on every machine that shares the store. Machines
that share no file system share an object store, whose files the folder then keeps copies of.

    <root>/store/ab/abcdef....npy     files, named by their SHA-256
    <root>/store/.partial/            files being written; never read
    <root>/.results/                  result records of the stages (the orchestrator's)
    <root>/scratch/<name>/            unfinished work that outlives a kill (checkpoints)
    <root>/runs/<name>/               published runs
    <root>/.in-use/                   who is at work (gan/storage/locks.py)

    <object store>/store/ab/abcdef....npy    files, those of published runs among them
    <object store>/.results/<key>            records of finished stages, plain JSON
"""

import errno
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from gan.errors import StoreError
from gan.storage.file_system import check_file_system, check_is_text, suggest_remedy
from gan.storage.files import read_array, sha256_of
from gan.storage.links import check_links
from gan.storage.locks import shared_root_lock
from gan.storage.object_store import ObjectStore
from gan.storage.plain_json import to_json


class FileRef(BaseModel):
    """A file by content: where it lies below the store's root, and what its bytes must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(
        pattern=r"^(store|runs)(/[A-Za-z0-9][A-Za-z0-9._-]*)+$",
        description="path below the store's root, with forward slashes; none that leads out of it",
    )
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the bytes, in hexadecimal")
    size: int = Field(ge=0, description="bytes")

    @classmethod
    def stored(cls, sha256: str, size: int, suffix: str) -> "FileRef":
        """A file that is named by its content."""
        return cls(key=f"store/{sha256[:2]}/{sha256}{suffix}", sha256=sha256, size=size)

    def by_content(self) -> "FileRef":
        """The same bytes as the store names them; a published file's key is another."""
        return self.stored(self.sha256, self.size, PurePosixPath(self.key).suffix)


def _is(path: Path, ref: FileRef) -> bool:
    try:
        return path.stat().st_size == ref.size and sha256_of(path) == ref.sha256
    except OSError:
        return False


@dataclass(frozen=True)
class Store:
    """Content-addressed files below one local folder, and perhaps in an object store that others use as well."""

    root: Path
    remote: ObjectStore | None = None

    @classmethod
    def open(cls, root: Path, store_url: str | None = None) -> "Store":
        """Make the folders if need be, and check that they and the object store can do what a run needs.

        Args:
            root: The output folder.
            store_url: Address of an object store, as in s3://bucket/prefix.

        Raises:
            StoreError: If the folder or the object store cannot be used.
            SettingsError: If the folder's path is not text.
        """
        store = cls(root.expanduser().absolute())
        check_is_text(store.root)
        try:
            store.partial_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The output folder {root} cannot be written: {error.strerror or error}.\n{suggest_remedy(error)}"
            ) from error
        for folder in (store.root, store.partial_dir):
            check_file_system(folder)
        check_links(store.root)
        return cls(store.root, ObjectStore.open(store_url)) if store_url else store

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
            ref = FileRef.stored(sha256, partial.stat().st_size, suffix)
            self._file(partial, ref)
        return ref

    def put_bytes(self, content: bytes, suffix: str) -> FileRef:
        """File `content` under its SHA-256."""
        return self.put_file(lambda path: path.write_bytes(content), suffix)

    def put_array(self, array: np.ndarray) -> FileRef:
        """File an array of plain numbers as `.npy` (no pickle)."""
        return self.put_file(lambda path: np.save(path, array, allow_pickle=False), ".npy")

    def put_json(self, content: Mapping[str, Any]) -> FileRef:
        """File plain values as JSON for people."""
        return self.put_bytes(f"{to_json(content)}\n".encode(), ".json")

    def is_here(self, ref: FileRef) -> bool:
        """Whether the file is in the folder with exactly the bytes of the reference."""
        return _is(self.root / ref.key, ref)

    def is_intact(self, ref: FileRef) -> bool:
        """Whether the file can be had: from the folder, or from the object store."""
        return not self.missing([ref])

    def missing(self, refs: Iterable[FileRef]) -> list[FileRef]:
        """Files that are neither in the folder, with exactly their bytes, nor in the object store, with their size."""
        return self._not_shared([ref for ref in refs if not self.is_here(ref)])

    def path(self, ref: FileRef) -> Path:
        """The verified local path of a file; it is brought from the object store if need be.

        Raises:
            StoreError: If the file is missing or not the one that was stored; transient if the network is to blame.
        """
        if not self.is_here(ref):
            self._bring(ref)
        return self.root / ref.key

    def share(self, refs: Iterable[FileRef]) -> None:
        """Upload what the object store does not have yet. Without one there is nothing to do.

        Raises:
            StoreError: If that cannot be done; transient if the network is to blame.
        """
        if self.remote:
            lacking = {ref.by_content().key: ref for ref in self._not_shared(list(refs))}
            for key, ref in lacking.items():
                self.remote.upload(self.path(ref), key)

    def _not_shared(self, refs: Sequence[FileRef]) -> list[FileRef]:
        if not self.remote or not refs:
            return list(refs)
        sizes = self.remote.sizes(ref.by_content().key for ref in refs)
        return [ref for ref, size in zip(refs, sizes, strict=True) if size != ref.size]

    def _bring(self, ref: FileRef) -> None:
        """Download a file of the right size; what is other bytes is emptied there, and is nobody's file any more."""
        shared, places = ref.by_content().key, [str(self.root)]
        if self.remote:
            places.append(self.remote.url)
            size = self.remote.size(shared)
            if size == ref.size and self._download(shared, ref):
                return
            if size is not None:
                self.remote.write(shared, b"")
        raise StoreError(
            f"The stored file {ref.key} is missing or was altered.\n"
            f"Expected {ref.size} bytes with SHA-256 {ref.sha256} in {' or '.join(places)}. "
            "Run the same command again: the stage that made it notices and makes it anew."
        )

    def _download(self, shared: str, ref: FileRef) -> bool:
        """File an object if it has the bytes of the reference."""
        assert self.remote
        self.partial_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.partial_dir) as folder:
            partial = Path(folder) / "file"
            if self.remote.download(shared, partial) and _is(partial, ref):
                self._file(partial, ref)
                return True
        return False

    def _file(self, partial: Path, ref: FileRef) -> None:
        target = self.root / ref.key
        with shared_root_lock(self.root):  # an equal file, old and about to be removed, must not take this one along
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(target)

    def load_array(self, ref: FileRef) -> np.ndarray:
        """A stored array, memory-mapped and read-only.

        Raises:
            StoreError: If the file is missing or altered, or holds anything but plain numbers.
        """
        return read_array(self.path(ref))
