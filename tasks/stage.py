"""The decorator of every stage: retries, caching, time limits and result storage."""

import hashlib
import inspect
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.serializers import JSONSerializer
from prefect.settings import PREFECT_TASKS_REFRESH_CACHE, temporary_settings
from prefect.tasks import exponential_backoff
from pydantic import ValidationError

from gan.storage.locks import exclusive_lock, lock_path, shared_root_lock
from gan.storage.store import Store
from gan.system.environment import describe_processors, rounding_conditions
from gan.system.interrupts import raise_lost_ctrl_c
from tasks.code_identity import import_reached, reached_code, reached_libraries
from tasks.failures import explain_gpu_errors, explain_refused_writes, is_worth_retrying
from tasks.records import StageRecord, plain

P = ParamSpec("P")
R = TypeVar("R", bound=StageRecord)
Fields = tuple[str, ...] | Callable[[Mapping[str, Any]], tuple[str, ...]]

PROCESSORS = "processors"
"""Name of the fact that describes the processors: results of other processors differ by rounding."""

FIRST_RETRY_SECONDS = 4

_conditions = ContextVar[str | None]("_conditions", default=None)

log = logging.getLogger(__name__)


def stage(
    *,
    run_name: str,
    timeout_seconds: float,
    incidental: tuple[str, ...] = (),
    reads: Mapping[str, Fields] | None = None,
) -> Callable[[Callable[Concatenate[Store, P], R]], "Stage[P, R]"]:
    """Return a decorator that makes a function a stage: cached by content, with retries and a time limit.

    Args:
        run_name: Name of the task run in the UI; may contain parameters, as in "train {config.steps} steps".
        timeout_seconds: Time limit of one attempt.
        incidental: Parameters that do not decide the result (data folder, device), left out of the cache key.
        reads: Fields of a parameter that decide the result, or a function that returns them, given all arguments; the
            others are left out of the cache key. Without an entry all fields decide.
    """

    def decorate(function: Callable[Concatenate[Store, P], R]) -> Stage[P, R]:
        reached_code(function.__module__)  # read the sources now, moments after they were imported

        @wraps(function)
        def timed(store: Store, *args: P.args, **kwargs: P.kwargs) -> R:
            started = time.perf_counter()
            import_reached(function.__module__)
            with explain_refused_writes(f"The stage {function.__name__}", store), explain_gpu_errors():
                record = function(store, *args, **kwargs)
            if record.seconds:  # the worker measured it; the time here would include the queue
                return record
            facts = {**record.facts, PROCESSORS: describe_processors()}
            return record.model_copy(update={"seconds": round(time.perf_counter() - started, 3), "facts": facts})

        policy = StagePolicy(incidental=incidental, reads=reads or {})
        task = Task(
            timed,
            name=function.__name__,
            task_run_name=run_name,
            cache_policy=policy,
            persist_result=True,
            result_serializer="json",
            retries=2,
            retry_delay_seconds=exponential_backoff(FIRST_RETRY_SECONDS),
            retry_jitter_factor=0.5,
            retry_condition_fn=is_worth_retrying,
            timeout_seconds=timeout_seconds,
        )
        return Stage(task, policy, returns=inspect.signature(function).return_annotation)

    return decorate


@dataclass(frozen=True)
class Stage(Generic[P, R]):
    """A Prefect task that stores its result record, and the files that it refers to, in the output folder.

    If several processes start the same stage at once, one runs it. The others wait, and use its cached result.

    Prefect reads and writes records in the output folder only, because it would treat a network failure as a missing
    result. Records of an object store are downloaded before the task runs, and new records are uploaded afterwards.
    """

    task: Task[Any, Any]
    policy: "StagePolicy"  # also kept here: Prefect drops that of a task when caching is disabled
    returns: type[R]
    takes_lock: bool = True
    """Whether this process holds the exclusive lock of the stage. False if a worker does the work and holds it."""

    def __call__(self, store: Store, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the stage or return its cached result, and remove its scratch folder once the result is stored.

        Raises:
            StoreError: If the object store cannot be reached. The result is kept in the output folder.
        """
        raise_lost_ctrl_c()
        key = self.key(store, *args, **kwargs)
        scratch = self._scratch_dir(key, store)
        task = self.task.with_options(result_storage=store.results_dir)
        lock = exclusive_lock(lock_path(scratch), self._log_waiting) if self.takes_lock else nullcontext()
        with explain_refused_writes(f"The stage {self.task.name}", store), lock:
            before = self._look_up(key, store)
            if "tensorflow" in reached_libraries(self.task.fn.__module__):
                _log_other_processors(self.task.name, before)
            result: R = task(store, *args, **kwargs)  # type: ignore[assignment]  # Prefect's overloads miss that it is sync
            if _read_record(store.results_dir / key, self.returns) != result:
                _write_record(result, key, store)  # Prefect only logs a failed write; without caching it writes none
            if store.remote:
                store.share(result.files())
                if result != before or not store.remote.size(_remote_name(key), renew=True):
                    store.remote.write(_remote_name(key), result.model_dump_json().encode())
            if self.takes_lock and scratch.exists():
                os.sync()  # a power failure must not lose both the result and the checkpoints
                shutil.rmtree(scratch, ignore_errors=True)
        return result

    def _log_waiting(self, holder: str) -> None:
        log.info("Another run is at the same stage, %s (%s): waiting for its result.", self.task.name, holder)

    def scratch_dir(self, store: Store, *args: P.args, **kwargs: P.kwargs) -> Path:
        """Return the folder for unfinished work of this stage with these arguments; it survives a killed process."""
        return self._scratch_dir(self.key(store, *args, **kwargs), store)

    def _scratch_dir(self, key: str, store: Store) -> Path:
        return store.scratch_dir(f"{self.task.name}-{key[:16]}")

    def recorded(self, store: Store, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Return the stored result for these arguments without running the stage; None if there is none.

        The object store has precedence: its record may be newer, when another machine refreshed the stage.
        """
        key = self.key(store, *args, **kwargs)
        if store.remote:
            self._download_record(key, store)
        return self._look_up(key, store)

    def key(self, store: Store, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the cache key of this stage with these arguments."""
        inputs = inspect.signature(self.task.fn).bind(store, *args, **kwargs)
        inputs.apply_defaults()
        return self.policy.key(self.task, inputs.arguments)

    def _look_up(self, key: str, store: Store) -> R | None:
        """Return the cached result. If a record's files are missing or altered, truncate it, so that the stage runs."""
        store.results_dir.mkdir(parents=True, exist_ok=True)
        path = store.results_dir / key
        with shared_root_lock(store.root):  # held briefly: not during requests to the object store
            record = before = _read_record(path, self.returns)
            if record is not None:
                os.utime(path)  # pruning goes by the time of the last use
        missing = _missing(record, store)
        if missing and store.remote:
            record = self._download_record(key, store)
            missing = missing if record is None else []
        # Unless a worker has written a new record meanwhile.
        if missing and path.is_file() and path.stat().st_size and _read_record(path, self.returns) == before:
            log.warning("The cached result is incomplete (%s is missing or altered): running again.", missing[0])
            path.write_bytes(b"")
        return None if missing else record

    def _download_record(self, key: str, store: Store) -> R | None:
        """Copy a record from the object store after validating it. Ignore a record whose files are missing."""
        assert store.remote
        try:
            record = self.returns.model_validate_json(store.remote.read(_remote_name(key)) or b"")
        except ValidationError:
            return None  # missing, or damaged and about to be replaced
        if _missing(record, store):
            return None
        _write_record(record, key, store)
        return record


@dataclass
class StagePolicy(CachePolicy):
    """Compute the cache key of a stage.

    The key has the inputs by content, the reached code, and the versions of the libraries that can change a result.
    TensorFlow sums in an order that depends on the number of its threads. So the key of a stage with TensorFlow also
    has that number, and the C library's settings for the CPU (`rounding_conditions`).
    """

    incidental: tuple[str, ...] = ()
    reads: Mapping[str, Fields] = field(default_factory=dict)

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str:
        """Return the key, for Prefect."""
        return self.key(task_ctx.task, inputs)

    def key(self, task: Task[Any, Any], inputs: Mapping[str, Any]) -> str:
        """Return a SHA-256 over everything that decides the result."""
        module = task.fn.__module__
        deciding = {name: plain(self._read(name, inputs)) for name in inputs if name not in {"store", *self.incidental}}
        libraries = reached_libraries(module)
        content = {"stage": task.name, "inputs": deciding, "code": reached_code(module), "libraries": libraries}
        if "tensorflow" in libraries:
            content["conditions"] = key_conditions()
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _read(self, name: str, inputs: Mapping[str, Any]) -> Any:
        """Return what decides the result of an argument."""
        fields = self.reads.get(name)
        if fields is None:
            return inputs[name]
        return {each: getattr(inputs[name], each) for each in (fields(inputs) if callable(fields) else fields)}


def _log_other_processors(name: str, cached: StageRecord | None) -> None:
    made_on, here = cached and cached.facts.get(PROCESSORS), describe_processors()
    if made_on and made_on != here:
        log.info("The result of %s was made on %s. Here (%s) it could differ by rounding.", name, made_on, here)


def _remote_name(key: str) -> str:
    return f".results/{key}"


def _missing(record: StageRecord | None, store: Store) -> list[str]:
    return ["its record"] if record is None else [ref.key for ref in store.missing(record.files())]


def _read_record(path: Path, returns: type[R]) -> R | None:
    """Read a record file as untrusted input; return None for anything but plain values of the expected class.

    Prefect later loads the same file with whatever serializer it names, even pickle, which can run code. So other
    serializers and classes are refused here.
    """
    try:
        content = json.loads(path.read_bytes())
        result = json.loads(content["result"])
        data = json.dumps(result["data"])
        names = content["metadata"]["serializer"], result["__class__"]
        expected = JSONSerializer().model_dump(mode="json"), f"{returns.__module__}.{returns.__qualname__}"
        return returns.model_validate_json(data) if names == expected and '"__' not in data else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _write_record(result: StageRecord, key: str, store: Store) -> None:
    """Write a record in Prefect's format, or leave none."""
    records = ResultStore(result_storage=LocalFileSystem(basepath=str(store.results_dir)), serializer=JSONSerializer())
    try:
        records.write(result, key)
    except OSError:
        with suppress(OSError):
            (store.results_dir / key).unlink()
        raise


def refreshing(refresh: bool) -> AbstractContextManager[object]:
    """Within the block, and if `refresh`, run every stage although it is cached, and replace its cached result."""
    return temporary_settings({PREFECT_TASKS_REFRESH_CACHE: True} if refresh else {})


def key_conditions() -> str:
    """Return the rounding conditions that go into cache keys, such as "2 CPUs".

    They are those of this machine, unless `use_key_conditions` replaces them.
    """
    return _conditions.get() or rounding_conditions()


@contextmanager
def use_key_conditions(conditions: str) -> Iterator[None]:
    """Within the block, put these conditions into cache keys.

    A worker uses those of its caller, so that the caller finds the result.
    """
    token = _conditions.set(conditions)
    try:
        yield
    finally:
        _conditions.reset(token)
