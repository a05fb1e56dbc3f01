"""Training as a run of its own on a GPU worker: handed over, waited for, and cancelled with the run that needs it.

Who trains is no part of what a training is: no cache key accounts for this module. What travels are references; the
result is the record that the worker's `train` leaves in the store, under the key that it has here as well.
"""

import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from uuid import uuid4

import httpx
from prefect.artifacts import create_link_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterIdempotencyKey,
    WorkerFilter,
    WorkerFilterStatus,
)
from prefect.client.schemas.objects import FlowRun, State, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_TASKS_REFRESH_CACHE
from prefect.states import Cancelling
from prefect.utilities.urls import url_for

from gan.config import ExecutionConfig, TrainConfig
from gan.errors import FashionGanError
from gan.storage.store import Store
from tasks.records import FittedExtractor, NormalizedData, TrainedGan

GPU_DEPLOYMENT, GPU_POOL, GPU_LIMIT = "train-gan/gpu", "gpu", "gpu"
SECONDS_BETWEEN_LOOKS, SECONDS_BETWEEN_QUESTIONS = 2.0, 10.0
ASK_AGAIN = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})

log = logging.getLogger(__name__)


class WorkerError(FashionGanError):
    """A training that was handed over to a GPU worker gave no result."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        """Keep whether handing it over again may help."""
        super().__init__(message)
        self.transient = transient


def train_on_worker(
    store: Store,
    data: NormalizedData,
    config: TrainConfig,
    execution: ExecutionConfig,
    extractor: FittedExtractor,
    *,
    find_result: Callable[[], TrainedGan | None],
) -> TrainedGan:
    """Start a training on a GPU worker, wait for it, and return its result.

    Args:
        store: The output folder, which the worker shares.
        data: What to train on.
        config: The settings of the training.
        execution: How to train, and how long to wait for a worker.
        extractor: Judges snapshots.
        find_result: Returns the result that the worker has left in the store; None if there is none.

    Raises:
        WorkerError: If no worker takes the training in time, or it ends without a result.
    """
    key = uuid4().hex
    try:
        run = _hand_over(key, store, data, config, execution, extractor)
        _say_where(run)
        state = _wait_for(run, execution.worker_timeout)
    except BaseException:  # Ctrl-C, SIGTERM and a cancelled run as well: nobody waits for this training any more
        _cancel(key)
        raise
    # one that failed after its training, when the server was away, has left its result; with --refresh it may be old
    may_be_old = PREFECT_TASKS_REFRESH_CACHE.value() and not state.is_completed()
    trained = None if may_be_old else find_result()
    if trained is None and not state.is_completed():
        raise _explain(run, state)
    if trained is None:
        raise WorkerError(
            f'Run "{run.name}" on the GPU worker completed, but this run cannot find its result in {store.root}.\n'
            "Either the worker has another output folder under that name, or other code or other versions of the "
            "libraries than here: they count in the key of a result. Bring both to the same commit and run make setup."
        )
    return trained


def _hand_over(
    key: str,
    store: Store,
    data: NormalizedData,
    config: TrainConfig,
    execution: ExecutionConfig,
    extractor: FittedExtractor,
) -> FlowRun:
    """Start the training's run, under a key by which it is started once, however often that is asked for.

    A server that does not answer is asked again, for as long as a worker would be waited for.
    """
    parameters = {
        "root": str(store.root),
        "data": data.model_dump(mode="json"),
        "config": config.model_dump(mode="json"),
        "execution": execution.model_copy(update={"train_on": "here"}).model_dump(mode="json"),
        "extractor": extractor.model_dump(mode="json"),
        "store_url": store.remote.url if store.remote else None,
        "refresh": PREFECT_TASKS_REFRESH_CACHE.value(),
    }
    asked_since = time.monotonic()
    while True:
        try:
            run: FlowRun = run_deployment(  # type: ignore[assignment]  # Prefect's overloads cannot tell it is sync
                GPU_DEPLOYMENT,
                parameters=parameters,
                timeout=0,
                idempotency_key=key,
                flow_run_name=f"{config.recipe.name}, {config.steps} steps, seed {config.seed}",
            )
            return run
        except ObjectNotFound as error:
            raise WorkerError(
                f"There is no deployment {GPU_DEPLOYMENT} on the server at {PREFECT_API_URL.value()}.\n"
                "Make it, and what belongs to it, with: make setup-server"
            ) from error
        except httpx.HTTPError as error:
            _refuse_refusals(error)
            if time.monotonic() - asked_since > execution.worker_timeout:
                raise WorkerError(
                    f"The Prefect server at {PREFECT_API_URL.value()} did not answer when the training was to be "
                    f"handed over ({type(error).__name__}).\nStart it again (make server), and run the same command "
                    "again."
                ) from error
            log.warning("The Prefect server does not answer (%s): asking it again.", type(error).__name__)
            time.sleep(SECONDS_BETWEEN_QUESTIONS)


def may_answer_later(error: BaseException | None) -> bool:
    """Whether a server that is asked again may answer: it is away or busy, and has not said no."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error or error.response.status_code in ASK_AGAIN
    return isinstance(error, httpx.TransportError)


def _refuse_refusals(error: httpx.HTTPError) -> None:
    """Do not ask again where the server was there, and said no.

    Raises:
        WorkerError: If that is so.
    """
    if isinstance(error, httpx.HTTPStatusError) and not may_answer_later(error):
        raise WorkerError(
            f"The Prefect server at {PREFECT_API_URL.value()} refuses what is asked for a training on a worker "
            f"({error.response.status_code}): {error.response.text[:300]}\n"
            "If its deployments are of another commit than this one, bring them up to date: make setup-server"
        ) from error


def _say_where(run: FlowRun) -> None:
    """Lead from the page of the run that waits to that of the training."""
    address = url_for(run)
    log.info('Handed over to the work pool %s as run "%s": %s', GPU_POOL, run.name, address)
    if address is None:
        return
    try:
        create_link_artifact(
            key="training",
            link=address,
            link_text=f"Run {run.name}",
            description=f"Training on a GPU worker, run {run.name}: its log, its progress and its live grid",
        )
    except Exception as error:  # whatever the server has: training goes on
        log.warning("The run's page does not link to the training's: %s", type(error).__name__)


def _wait_for(run: FlowRun, worker_timeout: float) -> State:
    """How the run ended. A server that does not answer for a while is waited for.

    Raises:
        WorkerError: If no worker has started it within the time.
    """
    unclaimed_since, answered = time.monotonic(), True
    while True:
        advice = None
        try:
            with get_client(sync_client=True) as client:
                found = client.read_flow_run(run.id)
                if found.state is not None and found.state.is_final():
                    return found.state
                advice = _is_held_up(client, found)
            if advice is None:
                unclaimed_since = time.monotonic()
            answered = True
        except ObjectNotFound as error:
            raise WorkerError(
                f'Run "{run.name}" on the GPU worker was deleted.\nRun the same command again.'
            ) from error
        except httpx.HTTPError as error:
            _refuse_refusals(error)
            if answered:
                log.warning("The Prefect server does not answer (%s): waiting for it.", type(error).__name__)
            unclaimed_since, answered = time.monotonic(), False
        if time.monotonic() - unclaimed_since > worker_timeout:
            raise WorkerError(
                f"The training was not started on the work pool {GPU_POOL} within {worker_timeout:g} s.\n"
                f"{advice}\n"
                "Or train in this process (--train-on here), or wait for longer (--worker-timeout)."
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _is_held_up(client: SyncPrefectClient, run: FlowRun) -> str | None:
    """What to do so that a run is started; None if it was, or will be: a busy worker takes one after the other."""
    if run.state is None or not (run.state.is_scheduled() or run.state.is_pending()):
        return None
    if run.state.is_pending():
        return "A worker has taken it, and has not started it: its log says why. Or start another: make gpu-worker"
    try:
        if client.read_work_pool(GPU_POOL).is_paused:
            return f"The work pool {GPU_POOL} is paused: resume it in the UI."
        if run.work_queue_name and client.read_work_queue_by_name(run.work_queue_name, GPU_POOL).is_paused:
            return f"The work queue {run.work_queue_name} of that pool is paused: resume it in the UI."
    except ObjectNotFound:
        return "The pool, or its work queue, is not on the server: make setup-server"
    online = WorkerFilter(status=WorkerFilterStatus(any_=[WorkerStatus.ONLINE]))
    if client.read_workers_for_work_pool(GPU_POOL, worker_filter=online):
        return None
    return (
        "No worker is there. Start one on the machine with the GPU, with PREFECT_API_URL set to this server: "
        "make gpu-worker"
    )


def _cancel(key: str) -> None:
    """Cancel the run that was started under a key, if one was: even where its start was never confirmed to us."""
    started = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
    try:
        with get_client(sync_client=True) as client:
            for run in client.read_flow_runs(flow_run_filter=started):
                if run.state is None or not run.state.is_final():
                    client.set_flow_run_state(run.id, Cancelling(message="Nobody waits for this training any more."))
                    log.info('Run "%s" on the GPU worker is cancelled too.', run.name)
    except Exception as error:  # the reason why we stop waiting is what a user must hear of
        log.warning("The training on the GPU worker could not be cancelled: %s", error)


def _explain(run: FlowRun, state: State) -> WorkerError:
    """What to say of a run that ended without a result; a crash (its worker was killed) is worth another try."""
    return WorkerError(
        f'The training on the GPU worker, run "{run.name}", is {state.name}: {state.message or "no reason was given"}\n'
        f"Its log says more: {url_for(run)}. When that is mended, run the same command again: "
        "training goes on from its last checkpoint.",
        transient=state.is_crashed(),
    )
