"""Decide which failures of a stage are worth a retry, and explain failed writes."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.task_engine import TaskRunTimeoutError

from gan.errors import FashionGanError, StoreError
from gan.storage.file_system import suggest_remedy
from gan.storage.store import Store

_TRANSIENT_ERRNOS = {errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO}
_TRANSIENT_ERRNOS |= {errno.ESTALE, errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTUNREACH}  # of network drives
_REFUSED_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def explain_refused_writes(name: str, store: Store) -> Iterator[None]:
    """Turn the error of a full or read-only disk within the block into a `StoreError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSED_ERRNOS:
            raise
        raise StoreError(
            f"{name} could not write below {store.root}: {error}.\n"
            f"No partial file is left. {suggest_remedy(error)} Then run the same command again: it continues with what "
            "is finished."
        ) from error


@contextmanager
def explain_gpu_errors() -> Iterator[None]:
    """Turn TensorFlow's error about a GPU within the block, such as too little memory, into a `GpuError`."""
    try:
        yield
    except Exception as error:
        errors = sys.modules.get("tensorflow.python.framework.errors_impl")  # a cached stage does not import it
        if errors is None or not isinstance(error, errors.OpError):
            raise
        from gan.models.backend import gpu_error

        explained = gpu_error(error)
        if explained is None:
            raise
        raise explained from error


def is_worth_retrying(_task: Any, _task_run: TaskRun, state: State) -> bool:
    """Return whether a failed stage may succeed on a retry: after a network or disk error, but not with wrong data."""
    error = state.data
    if isinstance(error, FashionGanError):
        return error.transient
    if isinstance(error, TaskRunTimeoutError):  # a subclass of TimeoutError; a retry would take as long
        return False
    is_transient = isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNOS
    return is_transient or isinstance(error, ConnectionError | TimeoutError)
