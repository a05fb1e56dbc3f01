"""Which failures may heal by themselves, and which are a person's to mend."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.task_engine import TaskRunTimeoutError

from gan.errors import FashionGanError, StoreError
from gan.storage.file_system import suggest_remedy
from gan.storage.store import Store

_HEALING_ERRNOS = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EINTR,
        errno.EIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
    }
)

_REFUSING_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


@contextmanager
def explain_refused_writes(name: str, store: Store) -> Iterator[None]:
    """Within it, a disk that is full or closed to us is an error for the user."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSING_ERRNOS:
            raise
        raise StoreError(
            f"{name} could not write below {store.root}: {error}.\n"
            f"Nothing half-written is left. {suggest_remedy(error)} Then run the same command again: it goes on from "
            "what is finished."
        ) from error


def is_worth_retrying(_task: Any, _task_run: TaskRun, state: State) -> bool:
    """Whether a failed stage may succeed when it runs again: a network or a disk may, wrong data or a NaN may not."""
    error = state.data
    if isinstance(error, FashionGanError):
        return error.transient
    if isinstance(error, TaskRunTimeoutError):
        return False  # it would take as long again
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in _HEALING_ERRNOS
