"""The one place for retries, caching, time limits and result storage: the decorator that every stage wears."""

import errno
import hashlib
import inspect
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import CachePolicy
from prefect.client.schemas import TaskRun
from prefect.context import TaskRunContext
from prefect.logging import get_run_logger
from prefect.results import ResultRecord
from prefect.settings import PREFECT_TASKS_REFRESH_CACHE, temporary_settings
from prefect.states import State
from prefect.task_engine import TaskRunTimeoutError
from prefect.tasks import exponential_backoff
from pydantic import BaseModel

from gan.errors import FashionGanError, StoreError
from gan.store import Store
from tasks.code_identity import import_reached, reached_code, reached_libraries
from tasks.records import StageRecord

P = ParamSpec("P")
R = TypeVar("R", bound=StageRecord)

RETRIES = 2
FIRST_RETRY_SECONDS = 4
RETRY_JITTER = 0.5

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


def stage(
    *, run_name: str, timeout_seconds: float, incidental: tuple[str, ...] = ()
) -> Callable[[Callable[Concatenate[Store, P], R]], "Stage[P, R]"]:
    """Make a stage of a function: cached by content, retried when that can help, bounded in time.

    Args:
        run_name: What a person reads in the UI; may name parameters, as in "train {config.steps} steps".
        timeout_seconds: A run that takes longer has failed.
        incidental: Parameters that do not decide the result (where to look, what to compute on): no part of its key.
    """

    def decorate(function: Callable[Concatenate[Store, P], R]) -> Stage[P, R]:
        reached_code(function.__module__)  # read now, moments after it was imported: it counts as it is now

        @wraps(function)
        def timed(store: Store, *args: P.args, **kwargs: P.kwargs) -> R:
            started = time.perf_counter()
            import_reached(function.__module__)
            try:
                record = function(store, *args, **kwargs)
            except OSError as error:
                if not _is_refused(error):
                    raise
                raise StoreError(
                    f"The stage {function.__name__} could not write below {store.root}: {error}.\n"
                    "Nothing half-written is left. Make room there or give another --output-dir, and run the same "
                    "command again: it goes on from what is finished."
                ) from error
            return record.model_copy(update={"seconds": round(time.perf_counter() - started, 3)})

        task = Task(
            timed,
            name=function.__name__,
            task_run_name=run_name,
            cache_policy=StagePolicy(incidental=incidental),
            persist_result=True,
            result_serializer="json",
            retries=RETRIES,
            retry_delay_seconds=exponential_backoff(FIRST_RETRY_SECONDS),
            retry_jitter_factor=RETRY_JITTER,
            retry_condition_fn=may_heal,
            timeout_seconds=timeout_seconds,
        )
        return Stage(task)

    return decorate


@dataclass(frozen=True)
class Stage(Generic[P, R]):
    """A Prefect task whose result records lie beside the files that they refer to."""

    task: Task[Any, Any]

    def __call__(self, store: Store, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the stage, or take its cached result; its scratch folder is removed once the result is safe."""
        scratch = self.scratch_dir(store, *args, **kwargs)
        store.results_dir.mkdir(parents=True, exist_ok=True)
        task = self.task.with_options(result_storage=store.results_dir)
        result: R = task(store, *args, **kwargs)  # type: ignore[assignment]  # Prefect's overloads cannot tell it is sync
        if scratch.exists():
            os.sync()  # a power cut must not take both the result and what it could be made anew from
            shutil.rmtree(scratch, ignore_errors=True)
        return result

    def scratch_dir(self, store: Store, *args: P.args, **kwargs: P.kwargs) -> Path:
        """A folder for the unfinished work of this stage with these arguments: what lies there outlives a kill."""
        return store.scratch_dir(f"{self.task.name}-{self._key(store, *args, **kwargs)[:16]}")

    def recorded(self, store: Store, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """The cached result for these arguments, whoever made it; None if there is none, or it is not whole."""
        key = self._key(store, *args, **kwargs)
        _discard_if_damaged(key, store)
        content = (store.results_dir / key).read_bytes() if (store.results_dir / key).is_file() else b""
        return ResultRecord[Any].deserialize(content).result if content else None

    def _key(self, store: Store, *args: P.args, **kwargs: P.kwargs) -> str:
        policy = self.task.cache_policy
        assert isinstance(policy, StagePolicy)
        inputs = inspect.signature(self.task.fn).bind(store, *args, **kwargs)
        inputs.apply_defaults()
        return policy.key(self.task, inputs.arguments)


@dataclass
class StagePolicy(CachePolicy):
    """Key of a stage: its inputs by content, the code it reaches, the libraries that compute.

    A cached result whose files are gone or altered is no result: its record is emptied, and the stage runs again.
    """

    incidental: tuple[str, ...] = ()

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str:
        """The key, after a look at what is cached under it."""
        key = self.key(task_ctx.task, inputs)
        _discard_if_damaged(key, inputs["store"])
        return key

    def key(self, task: Task[Any, Any], inputs: Mapping[str, Any]) -> str:
        """SHA-256 over everything that decides the result."""
        module = task.fn.__module__
        deciding = {name: _identity(value) for name, value in inputs.items() if name not in {"store", *self.incidental}}
        content = {
            "stage": task.name,
            "inputs": deciding,
            "code": reached_code(module),
            "libraries": reached_libraries(module),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _identity(value: object) -> Any:
    """Plain JSON values that are equal for equal content."""
    if isinstance(value, StageRecord):
        return value.identity()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value


def _discard_if_damaged(key: str, store: Store) -> None:
    path = store.results_dir / key
    if not path.is_file():
        return
    try:
        record = ResultRecord[Any].deserialize(path.read_bytes()).result
        damaged = [ref.key for ref in record.files() if not store.is_intact(ref)]
    except Exception:  # whatever a broken or outdated record holds, it is no result
        damaged = ["its record"]
    if damaged:
        get_run_logger().warning("The cached result is not whole (%s is missing or altered): made anew.", damaged[0])
        path.write_bytes(b"")


def _is_refused(error: OSError) -> bool:
    """Whether the disk is full or closed to us."""
    return error.errno in _REFUSING_ERRNOS


@contextmanager
def refreshing(refresh: bool) -> Iterator[None]:
    """Within it, and if `refresh`, no stage takes a cached result; what the stages find replaces what was cached."""
    with temporary_settings({PREFECT_TASKS_REFRESH_CACHE: True} if refresh else {}):
        yield


def may_heal(_task: Any, _task_run: TaskRun, state: State) -> bool:
    """Whether a failed stage may succeed when it runs again: a network or a disk may, wrong data or a NaN may not."""
    error = state.data
    if isinstance(error, FashionGanError):
        return error.transient
    if isinstance(error, TaskRunTimeoutError):
        return False  # it would take as long again
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in _HEALING_ERRNOS
