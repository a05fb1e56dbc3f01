"""Who is at work in an output folder: locks that the kernel frees when their holder is gone, however that came about.

    <root>/.in-use/moment       held for moments: shared by who files or takes something, alone by who removes
                                or replaces
    <root>/.in-use/<anything>   one for every run that goes on, held by it, as old as its start
    <root>/scratch/<name>.lock  held by who works on that; another one waits

They hold on one machine (and on a network drive as far as it knows flock); between machines the age of files protects.
"""

import errno
import fcntl
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_MISTAKES = frozenset({errno.EBADF, errno.EINTR})
"""What is wrong with a call for a lock, and not with the file system."""


def _usage_dir(root: Path) -> Path:
    return root / ".in-use"


def _lock(file: IO[bytes], kind: int) -> bool:
    """Take a lock; False if another one holds it and `kind` does not wait. Some network drives have none at all."""
    try:
        fcntl.flock(file, kind)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _MISTAKES:
            raise
    return True


@contextmanager
def _moment(root: Path, kind: int) -> Iterator[Path]:
    path = _usage_dir(root) / "moment"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        _lock(file, kind)
        yield path


@contextmanager
def shared_root_lock(root: Path) -> Iterator[None]:
    """Within it nothing is removed from an output folder; for moments, such as a look and a touch."""
    with _moment(root, fcntl.LOCK_SH):
        yield


@contextmanager
def exclusive_root_lock(root: Path) -> Iterator[None]:
    """Hold back all who file, take, replace or remove; for moments, such as a look and a rename."""
    with _moment(root, fcntl.LOCK_EX):
        yield


@contextmanager
def in_use(root: Path) -> Iterator[None]:
    """Mark an output folder as used by a run: what it files or takes from now on is not removed before its end."""
    with shared_root_lock(root):
        mark = tempfile.NamedTemporaryFile(prefix="run-", dir=_usage_dir(root), delete=False)  # noqa: SIM115
        _lock(mark.file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    try:
        yield
    finally:
        Path(mark.name).unlink(missing_ok=True)
        mark.close()


@contextmanager
def keeping_others_out(root: Path) -> Iterator[tuple[float, float]]:
    """Hold back all who file, take or start, for the moments in which something is removed.

    Yields:
        Now, and since when a run has been going on (now, if there is none), both on the drive's clock: what was used
        since then may be needed.
    """
    with _moment(root, fcntl.LOCK_EX) as path:
        os.utime(path)
        now = since = path.stat().st_mtime
        for mark in path.parent.glob("run-*"):
            with suppress(FileNotFoundError):  # its run ends at this moment
                started = mark.lstat().st_mtime
                if is_held(mark):
                    since = min(since, started)
                else:
                    mark.unlink(missing_ok=True)  # its run was killed
        yield now, since


def is_held(path: Path) -> bool:
    """Whether somebody holds a lock file now; taken for held if it is another user's."""
    try:
        with path.open("r+b") as file:  # a network drive locks only what may be written
            return not _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True


@contextmanager
def exclusive_lock(path: Path, on_wait: Callable[[str], object]) -> Iterator[None]:
    """Be the only one who works on what a lock file stands for; it is removed in the end.

    Args:
        path: The lock file.
        on_wait: Called once if another one is at work, before waiting for its end, with who that is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    waited = False
    while True:
        with path.open("ab") as file:
            if not _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                if not waited:
                    on_wait(_holder(path))
                    waited = True
                _lock(file, fcntl.LOCK_EX)
            if not _is_at(path, file):
                continue  # who held it has removed it; another one may have made a new one
            try:
                with suppress(OSError):  # a courtesy to who waits: a full disk may refuse it
                    file.truncate(0)
                    os.write(file.fileno(), f"process {os.getpid()} on {platform.node()}".encode())
                yield
            finally:
                path.unlink(missing_ok=True)
            return


@contextmanager
def alone_if_free(path: Path) -> Iterator[bool]:
    """Hold a lock file, and remove it in the end; yields False, and leaves it, if another one is at work."""
    if is_held(path):  # not even opened: its holder may remove it now, and this would make a new one
        yield False
        return
    with path.open("ab") as file:
        free = _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB) and _is_at(path, file)
        try:
            yield free
        finally:
            if free:
                path.unlink(missing_ok=True)


def _holder(path: Path) -> str:
    """Who holds a lock file, as it has written there itself."""
    try:
        return path.read_text(encoding="utf-8") or "just starting"
    except FileNotFoundError:
        return "just done"


def _is_at(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def lock_path(scratch: Path) -> Path:
    """The lock file of a scratch folder, beside it; `gan.storage.locks.exclusive_lock` makes and removes it."""
    return scratch.with_name(f"{scratch.name}.lock")
