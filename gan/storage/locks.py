"""Locks between the processes that use an output folder. The kernel frees a lock when its process ends for any reason.

    <root>/.in-use/moment       the root lock, held for moments: shared to store or read files, exclusive to remove or
                                replace them
    <root>/.in-use/run-...      one for each run in progress; its modification time is the start of the run
    <root>/.in-use/champion.lock, kept.lock, index.lock
                                exclusive for a change of the champion, of the pinned runs, of the front page
    <root>/scratch/<name>.lock  exclusive for work on <root>/scratch/<name>; other processes wait

The locks work between processes of one machine, and on a network drive if it supports flock. Between machines, pruning
protects files by their age.
"""

import errno
import fcntl
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from gan.errors import StoreError

IN_USE = ".in-use"


def _acquire(file: IO[bytes], operation: int) -> bool:
    """Acquire a lock with flock; return False if another process holds it. Return True if flock is not supported."""
    try:
        fcntl.flock(file, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.EBADF, errno.EINTR):  # an error in the call, not missing support for locks
            raise
    return True


@contextmanager
def _root_lock(root: Path, operation: int) -> Iterator[Path]:
    path = root / IN_USE / "moment"
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("ab"))
        except (PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise StoreError(
                f"The lock {path}, which all users of an output folder share, cannot be opened: {error.strerror}.\n"
                f"Has another user, or root, made it? Give this user write access to all of {path.parent}, or give "
                "another --output-dir."
            ) from error
        _acquire(file, operation)
        yield path


def shared_root_lock(root: Path) -> AbstractContextManager[Path]:
    """Acquire the shared root lock: nothing is removed from the output folder meanwhile."""
    return _root_lock(root, fcntl.LOCK_SH)


def exclusive_root_lock(root: Path) -> AbstractContextManager[Path]:
    """Acquire the exclusive root lock: no other process stores, reads, replaces or removes files meanwhile."""
    return _root_lock(root, fcntl.LOCK_EX)


@contextmanager
def exclusive_root_lock_for_removal(root: Path) -> Iterator[tuple[float, float | None]]:
    """Acquire the exclusive root lock and find the start of the oldest run in progress.

    Yields:
        The current time, and the start of the oldest run, or None if no run is in progress. Both are in seconds on the
        clock of the drive. Files that were used since that start may still be needed.
    """
    with exclusive_root_lock(root) as path:
        os.utime(path)
        now, oldest = path.stat().st_mtime, None
        for mark in path.parent.glob("run-*"):
            with suppress(FileNotFoundError):  # the run ends at this moment
                started = mark.lstat().st_mtime
                if is_locked(mark):
                    oldest = min(oldest or started, started)
                else:
                    mark.unlink(missing_ok=True)  # the run was killed
        yield now, oldest


@contextmanager
def mark_in_use(root: Path) -> Iterator[None]:
    """Mark an output folder as in use by a run: pruning keeps files that are stored or read until the run ends."""
    with shared_root_lock(root) as path:
        mark = tempfile.NamedTemporaryFile(prefix="run-", dir=path.parent, delete=False)  # noqa: SIM115
        _acquire(mark.file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    try:
        yield
    finally:
        Path(mark.name).unlink(missing_ok=True)
        mark.close()


def is_locked(path: Path) -> bool:
    """Return whether a process holds a lock file. A file of another user counts as locked."""
    try:
        with path.open("r+b") as file:  # some network drives lock only writable files
            return not _acquire(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True


@contextmanager
def exclusive_lock(path: Path, on_wait: Callable[[str], object] = lambda _: None) -> Iterator[None]:
    """Acquire an exclusive lock, and remove its file at the end.

    If this process has to wait, `on_wait` is called once, with a description of the holder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    waited = False
    while True:
        with path.open("ab") as file:
            if not _acquire(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                if not waited:
                    on_wait(_read_holder(path))
                    waited = True
                _acquire(file, fcntl.LOCK_EX)
            if not _is_open_file(path, file):
                continue  # the last holder removed the file, and another process may have created a new one
            try:
                with suppress(OSError):  # information for waiting processes: a full disk is no failure
                    file.truncate(0)
                    os.write(file.fileno(), f"process {os.getpid()} on {platform.node()}".encode())
                yield
            finally:
                path.unlink(missing_ok=True)
            return


@contextmanager
def try_exclusive_lock(path: Path) -> Iterator[bool]:
    """Acquire an exclusive lock if it is free, and remove its file at the end; yield whether it was acquired."""
    if is_locked(path):  # opening the file could create a new one, if the holder removes it at this moment
        yield False
        return
    with path.open("ab") as file:
        acquired = _acquire(file, fcntl.LOCK_EX | fcntl.LOCK_NB) and _is_open_file(path, file)
        try:
            yield acquired
        finally:
            if acquired:
                path.unlink(missing_ok=True)


def lock_path(scratch: Path) -> Path:
    """Return the lock file of a scratch folder, which is beside it."""
    return scratch.with_name(f"{scratch.name}.lock")


def _read_holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") or "just starting"
    except FileNotFoundError:
        return "just done"


def _is_open_file(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
