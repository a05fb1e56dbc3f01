"""Training on a GPU worker: start a run of the deployment, wait for it, and cancel it with the run that needs it.

No cache key includes this module, because where a training runs does not decide its result. Only references travel
between the machines: the worker's stage `train` leaves its record in the store, under the key of the waiting run.
"""

import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from uuid import uuid4

import httpx
from prefect.artifacts import create_link_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, State, StateType, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.settings import PREFECT_API_URL, PREFECT_TASKS_REFRESH_CACHE
from prefect.states import Cancelling
from prefect.utilities.urls import url_for

from gan.config import ExecutionConfig, TrainConfig
from gan.errors import FashionGanError
from gan.storage.store import Store
from gan.system.interrupts import defer_interrupts
from tasks.live_artifact import Relay
from tasks.records import FittedExtractor, NormalizedData, TrainedGan
from tasks.stage import key_conditions

GPU_DEPLOYMENT, GPU_POOL, GPU_LIMIT = "train-gan/gpu", "gpu", "gpu"
POLL_SECONDS, RETRY_SECONDS, MAX_QUESTIONS = 2.0, 10.0, 5

log = logging.getLogger(__name__)


class WorkerError(FashionGanError):
    """A training on a GPU worker gave no result."""


def train_on_worker(
    store: Store,
    data: NormalizedData,
    config: TrainConfig,
    execution: ExecutionConfig,
    extractor: FittedExtractor,
    *,
    cache_key: str,
    find_result: Callable[[], TrainedGan | None],
) -> TrainedGan:
    """Start a training on a GPU worker that shares the store, wait for it, and return its result.

    Args:
        store: The store that both share.
        data: References to the normalized data set.
        config: Settings that decide the result.
        execution: Settings that do not decide the result.
        extractor: The feature extractor that snapshots are judged with.
        cache_key: The key of the stage here. The worker refuses to train if the key is another one there.
        find_result: Returns the result that the worker has left in the store; None if there is none.

    Raises:
        WorkerError: If no worker starts the training in time, or it ends without a result.
    """
    idempotency_key = uuid4().hex
    parameters = {
        "root": str(store.root),
        "data": data.model_dump(mode="json"),
        "config": config.model_dump(mode="json"),
        "execution": execution.model_copy(update={"train_on": "here"}).model_dump(mode="json"),
        "extractor": extractor.model_dump(mode="json"),
        "store_url": store.remote.url if store.remote else None,
        "refresh": PREFECT_TASKS_REFRESH_CACHE.value(),
        "key_conditions": key_conditions(),
        "cache_key": cache_key,
    }
    try:
        name = f"{config.recipe.name}, {config.steps} steps, seed {config.seed}"
        run = _start(idempotency_key, parameters, name, execution.worker_timeout)
        _link_to(run)
        state = _wait_for(run, execution.worker_timeout)
    except BaseException:  # also Ctrl-C, SIGTERM and cancellation: the training is not needed any more
        _cancel(idempotency_key)
        raise
    # A run that fails after its training may have left a result. With --refresh that result could be an older one, so
    # it is not used.
    if (state.is_completed() or not PREFECT_TASKS_REFRESH_CACHE.value()) and (trained := find_result()):
        return trained
    raise _missing_result(run, state, store)


def _missing_result(run: FlowRun, state: State, store: Store) -> WorkerError:
    if state.is_completed():
        return WorkerError(
            f'Run "{run.name}" on the GPU worker completed, but this run cannot find its result in {store.root}.\n'
            "Has the worker another output folder at that path? Share the folder, or use one object store for both "
            "(--store-url)."
        )
    if state.is_cancelled() or _was_cancelled(run):
        return WorkerError(
            f'The training on the GPU worker, run "{run.name}", was cancelled.\n'
            "Run the same command again: training continues from its last checkpoint."
        )
    return WorkerError(
        f'The training on the GPU worker, run "{run.name}", is {state.name}: {state.message or "no reason was given"}\n'
        f"Its log has details: {url_for(run)}. After correcting the cause, run the same command again: "
        "training continues from its last checkpoint.",
        transient=state.is_crashed(),
    )


def _was_cancelled(run: FlowRun) -> bool:
    """Return whether somebody cancelled the run: for a moment, Prefect shows a cancelled run as Crashed."""
    for _ in range(MAX_QUESTIONS):
        try:
            with get_client(sync_client=True) as client:
                return any(state.type == StateType.CANCELLING for state in client.read_flow_run_states(run.id))
        except (httpx.HTTPError, PrefectException):
            time.sleep(POLL_SECONDS)
    log.warning('The Prefect server does not say whether run "%s" was cancelled or crashed.', run.name)
    return False


def _start(key: str, parameters: dict[str, object], name: str, timeout: float) -> FlowRun:
    """Start the training's run. Retry while the server does not answer; the idempotency key prevents a second run."""
    started = time.monotonic()
    while True:
        try:
            run: FlowRun = run_deployment(  # type: ignore[assignment]  # Prefect's overloads miss that it is sync
                GPU_DEPLOYMENT, parameters=parameters, timeout=0, idempotency_key=key, flow_run_name=name
            )
            return run
        except ObjectNotFound as error:
            raise WorkerError(
                f"There is no deployment {GPU_DEPLOYMENT} on the server at {PREFECT_API_URL.value()}.\n"
                "Create it with: make setup-server"
            ) from error
        except httpx.HTTPError as error:
            _raise_if_rejected(error)
            if time.monotonic() - started > timeout:
                raise WorkerError(
                    f"The Prefect server at {PREFECT_API_URL.value()} did not answer a request to start the training "
                    f"({type(error).__name__}).\nStart the server again (make server), and run the same command again."
                ) from error
            log.warning("The Prefect server does not answer (%s): trying again.", type(error).__name__)
            time.sleep(RETRY_SECONDS)


def may_answer_later(error: BaseException | None) -> bool:
    """Return whether a repeated request may succeed: the server was unreachable or busy, and did not reject it."""
    if isinstance(error, httpx.HTTPStatusError):
        is_busy = error.response.status_code in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
        return is_busy or error.response.is_server_error
    return isinstance(error, httpx.TransportError)


def _raise_if_rejected(error: httpx.HTTPError) -> None:
    """Raise a `WorkerError` if the server has answered and rejected the request."""
    if isinstance(error, httpx.HTTPStatusError) and not may_answer_later(error):
        raise WorkerError(
            f"The Prefect server at {PREFECT_API_URL.value()} rejects a request for a training on a worker "
            f"({error.response.status_code}): {error.response.text[:300]}\n"
            "If its deployments are from another commit, update them: make setup-server"
        ) from error


def _link_to(run: FlowRun) -> None:
    """Link from the page of the waiting run to the page of the training's run."""
    address = url_for(run)
    log.info('Handed over to the work pool %s as run "%s": %s', GPU_POOL, run.name, address)
    text = f"Training on a GPU worker, run {run.name}: its log"
    try:
        if address is not None:
            create_link_artifact(key="training", link=address, link_text=f"Run {run.name}", description=text)
    except Exception as error:  # a missing link must not end the training
        log.warning("The link to the training's run could not be created: %s", type(error).__name__)


def _wait_for(run: FlowRun, worker_timeout: float) -> State:
    """Show the progress of the run, and return its final state. Retry while the server does not answer."""
    unclaimed_since, is_answering, relay = time.monotonic(), True, Relay()
    while True:
        advice = None
        try:
            with get_client(sync_client=True) as client:
                found = client.read_flow_run(run.id)
                final = found.state if found.state is not None and found.state.is_final() else None
                if done := relay.update(client, run.id, is_over=final is not None):
                    log.info("On the GPU worker: %s", done)
                if final is not None:
                    return final
                advice = _advice_if_stuck(client, found)
            if advice is None:
                unclaimed_since = time.monotonic()
            is_answering = True
        except ObjectNotFound as error:
            message = f'Run "{run.name}" on the GPU worker was deleted.\nRun the same command again.'
            raise WorkerError(message) from error
        except httpx.HTTPError as error:
            _raise_if_rejected(error)
            if is_answering:
                log.warning("The Prefect server does not answer (%s): waiting for it.", type(error).__name__)
            unclaimed_since, is_answering = time.monotonic(), False
        if time.monotonic() - unclaimed_since > worker_timeout:
            raise WorkerError(
                f"The training was not started on the work pool {GPU_POOL} within {worker_timeout:g} s.\n{advice}\n"
                "Or train in this process (--train-on here), or wait longer (--worker-timeout)."
            )
        time.sleep(POLL_SECONDS)


def _advice_if_stuck(client: SyncPrefectClient, run: FlowRun) -> str | None:
    """Return what to do about a run that nothing will start; None if it runs, or waits for a busy worker."""
    if run.state is None or not (run.state.is_scheduled() or run.state.is_pending()):
        return None
    if run.state.is_pending():
        return "A worker has taken it but not started it: its log says why. Or start another worker: make gpu-worker"
    try:
        if client.read_work_pool(GPU_POOL).is_paused:
            return f"The work pool {GPU_POOL} is paused: resume it in the UI."
        if run.work_queue_name and client.read_work_queue_by_name(run.work_queue_name, GPU_POOL).is_paused:
            return f"The work queue {run.work_queue_name} of that pool is paused: resume it in the UI."
    except ObjectNotFound:
        return "The pool, or its work queue, is not on the server: make setup-server"
    online = filters.WorkerFilter(status=filters.WorkerFilterStatus(any_=[WorkerStatus.ONLINE]))
    if client.read_workers_for_work_pool(GPU_POOL, worker_filter=online):
        return None
    return "No worker is online. Start one where the GPU is, with PREFECT_API_URL set to this server: make gpu-worker"


def _cancel(key: str) -> None:
    """Cancel the run with this idempotency key, even if the server never confirmed that it was started."""
    started = filters.FlowRunFilter(idempotency_key=filters.FlowRunFilterIdempotencyKey(any_=[key]))
    try:
        # A sweep that is stopped with Ctrl-C sends SIGTERM to this process, which has had the Ctrl-C already.
        with defer_interrupts(), get_client(sync_client=True) as client:
            for run in client.read_flow_runs(flow_run_filter=started):
                if run.state is None or not run.state.is_final():
                    client.set_flow_run_state(run.id, Cancelling(message="No run waits for this training any more."))
                    log.info('Run "%s" on the GPU worker is cancelled too.', run.name)
    except Exception as error:  # the original error is the one to report
        log.warning("The training on the GPU worker could not be cancelled: %s", error)
