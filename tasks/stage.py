"""The one place for retries, caching, time limits and result storage: the decorator that every stage wears."""

import hashlib
import inspect
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
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
from pydantic import BaseModel, ValidationError

from gan.storage.locks import exclusive_lock, lock_path, shared_root_lock
from gan.storage.store import Store
from gan.system.environment import describe_processors
from tasks.code_identity import import_reached, reached_code, reached_libraries
from tasks.failures import explain_refused_writes, is_worth_retrying
from tasks.records import StageRecord

P = ParamSpec("P")
R = TypeVar("R", bound=StageRecord)

PROCESSORS = "processors"
"""The fact that says what a result depends on by rounding (`gan.system.environment.describe_processors`)."""

RETRIES = 2
FIRST_RETRY_SECONDS = 4
RETRY_JITTER = 0.5

log = logging.getLogger(__name__)


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
            with explain_refused_writes(f"The stage {function.__name__}", store):
                record = function(store, *args, **kwargs)
            if record.seconds:  # it was handed over: what is here is the time in the queue, and another machine
                return record
            facts = {**record.facts, PROCESSORS: describe_processors()}
            return record.model_copy(update={"seconds": _since(started), "facts": facts})

        policy = StagePolicy(incidental=incidental)
        task = Task(
            timed,
            name=function.__name__,
            task_run_name=run_name,
            cache_policy=policy,
            persist_result=True,
            result_serializer="json",
            retries=RETRIES,
            retry_delay_seconds=exponential_backoff(FIRST_RETRY_SECONDS),
            retry_jitter_factor=RETRY_JITTER,
            retry_condition_fn=is_worth_retrying,
            timeout_seconds=timeout_seconds,
        )
        return Stage(task, policy, returns=inspect.signature(function).return_annotation)

    return decorate


@dataclass(frozen=True)
class Stage(Generic[P, R]):
    """A Prefect task whose result records lie beside the files that they refer to.

    Of equal stages that are started at the same moment one works; the others wait, and then find its result cached.

    Prefect reads and writes the records in the output folder only. With an object store, a record that is there is
    brought before the task looks for it, and one that is new is shared when its files are: Prefect itself would take a
    network that is down for a result that is not there.

    Attributes:
        task: The task.
        policy: Makes its keys. (Prefect takes it from the task where caching is switched off.)
        returns: The class of its results.
        waits: False where the work is left to another process, which is the one that must be alone (with
            `dataclasses.replace`); two that wait for each other would never end.
    """

    task: Task[Any, Any]
    policy: "StagePolicy"
    returns: type[R]
    waits: bool = True

    def __call__(self, store: Store, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the stage, or take its cached result; its scratch folder is removed once the result is safe.

        Raises:
            StoreError: If there is an object store and it cannot be reached. A result made here is kept.
        """
        key = self._key(store, *args, **kwargs)
        scratch = self._scratch_dir(key, store)
        task = self.task.with_options(result_storage=store.results_dir)
        with explain_refused_writes(f"The stage {self.task.name}", store), self._alone_at(scratch):
            before = self._look_up(key, store)
            _say_if_rounded_otherwise(self.task.name, before)
            # Prefect's overloads cannot tell that it is sync
            result: R = task(store, *args, **kwargs)  # type: ignore[assignment]
            if _read_record(store.results_dir / key, self.returns) != result:
                _record(result, key, store)  # Prefect only logs that it could not, and where caching is off does not
            self._share(result, key, store, known=result == before)
            if self.waits and scratch.exists():
                os.sync()  # a power cut must not take both the result and what it could be made anew from
                shutil.rmtree(scratch, ignore_errors=True)
        return result

    def _alone_at(self, scratch: Path) -> AbstractContextManager[None]:
        """Hold the lock of the scratch folder until the result is there for all."""
        if not self.waits:
            return nullcontext()

        def say_so(who: str) -> None:
            log.info("Another run is at the same stage, %s (%s): waiting for its result.", self.task.name, who)

        return exclusive_lock(lock_path(scratch), say_so)

    def scratch_dir(self, store: Store, *args: P.args, **kwargs: P.kwargs) -> Path:
        """A folder for the unfinished work of this stage with these arguments: what lies there outlives a kill."""
        return self._scratch_dir(self._key(store, *args, **kwargs), store)

    def recorded(self, store: Store, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """The whole result of these arguments, if this or another process or machine has made it; nothing is run.

        What the object store has comes first: it may be newer than what is here, when a stage was refreshed elsewhere.
        """
        key = self._key(store, *args, **kwargs)
        if store.remote:
            self._bring_record(key, store)
        return self._look_up(key, store)

    def _scratch_dir(self, key: str, store: Store) -> Path:
        return store.scratch_dir(f"{self.task.name}-{key[:16]}")

    def _key(self, store: Store, *args: P.args, **kwargs: P.kwargs) -> str:
        inputs = inspect.signature(self.task.fn).bind(store, *args, **kwargs)
        inputs.apply_defaults()
        return self.policy.key(self.task, inputs.arguments)

    def _look_up(self, key: str, store: Store) -> R | None:
        """The cached result. One that is not whole is no result: its record is emptied, and the stage will run."""
        store.results_dir.mkdir(parents=True, exist_ok=True)
        path = store.results_dir / key
        with shared_root_lock(store.root):  # for a moment: what it asks of an object store comes after
            record = _read_record(path, self.returns)
            if record is not None:
                os.utime(path)  # used now: nobody removes it, or what it names, as unused
        missing = _missing(record, store)
        if missing and store.remote:
            record = self._bring_record(key, store)
            missing = missing if record is None else []
        if missing and path.is_file() and path.stat().st_size:
            log.warning("The cached result is not whole (%s is missing or altered): made anew.", missing[0])
            path.write_bytes(b"")
        return None if missing else record

    def _share(self, result: R, key: str, store: Store, *, known: bool) -> None:
        """Let other machines find a result."""
        if store.remote:
            store.share(result.files())
            if not known or not store.remote.size(_shared_name(key)):
                store.remote.write(_shared_name(key), result.model_dump_json().encode())

    def _bring_record(self, key: str, store: Store) -> R | None:
        """Take over a record from the object store. It is read as the plain values of one known class, no more.

        One whose files are gone is none, and does not replace what is here.
        """
        assert store.remote
        try:
            record = self.returns.model_validate_json(store.remote.read(_shared_name(key)) or b"")
        except ValidationError:
            return None  # there is none, or it is damaged and will be replaced
        if _missing(record, store):
            return None
        _record(record, key, store)
        return record


@dataclass
class StagePolicy(CachePolicy):
    """Key of a stage: its inputs by content, the code it reaches, the libraries that compute."""

    incidental: tuple[str, ...] = ()

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str:
        """The key."""
        return self.key(task_ctx.task, inputs)

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


def _say_if_rounded_otherwise(name: str, cached: StageRecord | None) -> None:
    """Say that a result was made on other processors: made here it could differ by rounding."""
    made_on, here = cached and cached.facts.get(PROCESSORS), describe_processors()
    if made_on and made_on != here:
        log.info("The result of %s was made on %s. Here (%s) it could differ by rounding.", name, made_on, here)


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 3)


def _identity(value: object) -> Any:
    """Plain JSON values that are equal for equal content."""
    if isinstance(value, StageRecord):
        return value.identity()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value


def _shared_name(key: str) -> str:
    return f".results/{key}"


def _missing(record: StageRecord | None, store: Store) -> list[str]:
    """What a result lacks to be whole."""
    return ["its record"] if record is None else [ref.key for ref in store.missing(record.files())]


def _read_record(path: Path, returns: type[R]) -> R | None:
    """The record in a file, read as the plain values of one known class; None if that is not what it holds.

    Prefect reads it again with whatever serializer and classes it names, pickle among them, so a record that names any
    but ours is none.
    """
    try:
        content = json.loads(path.read_bytes())
        result = json.loads(content["result"])
        plain = json.dumps(result["data"])
        names = content["metadata"]["serializer"], result["__class__"]
        expected = JSONSerializer().model_dump(mode="json"), f"{returns.__module__}.{returns.__qualname__}"
        return returns.model_validate_json(plain) if names == expected and '"__' not in plain else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _record(result: StageRecord, key: str, store: Store) -> None:
    """Write a record as Prefect does; half of one is not left."""
    records = ResultStore(result_storage=LocalFileSystem(basepath=str(store.results_dir)), serializer=JSONSerializer())
    try:
        records.write(result, key)
    except OSError:
        with suppress(OSError):
            (store.results_dir / key).unlink()
        raise


@contextmanager
def refreshing(refresh: bool) -> Iterator[None]:
    """Within it, and if `refresh`, no stage takes a cached result; what the stages find replaces what was cached."""
    with temporary_settings({PREFECT_TASKS_REFRESH_CACHE: True} if refresh else {}):
        yield
