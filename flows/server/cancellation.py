"""Cancellation of the runs of a command, through the API. Workers do the same for the runs of deployments."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from types import FrameType
from typing import Any
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, TaskRun
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.states import Cancelled

from gan.errors import FashionGanError
from gan.system.interrupts import CANCELLED

POLL_SECONDS, PAGE = 3.0, 200
SECONDS_UNTIL_REPEATED = 30.0
RUN_CANCELLED = "The run was cancelled."


class RunCancelledError(FashionGanError):
    """The run was cancelled."""


@contextmanager
def stop_when_cancelled() -> Iterator[None]:
    """Within the block, raise a `RunCancelledError` in the main thread once the current flow run is cancelled.

    A training saves a checkpoint first.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.deployment_id or threading.current_thread() is not threading.main_thread():
        yield
        return
    done = threading.Event()
    before = signal.signal(CANCELLED, _stop)
    with_settings = copy_context().run  # the thread needs this thread's Prefect settings
    threading.Thread(target=with_settings, args=(_poll, run.id, done), daemon=True).start()
    try:
        yield
    finally:
        done.set()
        # the handler of the run that this one is part of; the default one would kill a process whose run has just ended
        signal.signal(CANCELLED, before if callable(before) else signal.SIG_IGN)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise RunCancelledError("The run was cancelled.\nRun the same command again: it continues with what is finished.")


def _poll(run_id: UUID, done: threading.Event) -> None:
    """Interrupt the main thread once the run was cancelled, and again if the exception had no effect."""
    wait = POLL_SECONDS
    with get_client(sync_client=True) as client:
        while not done.wait(wait):
            try:
                state = client.read_flow_run(run_id).state
            except (httpx.HTTPError, PrefectException):
                continue  # the server does not answer now
            if state is not None and state.type in {StateType.CANCELLING, StateType.CANCELLED}:
                os.kill(os.getpid(), CANCELLED)
                wait = SECONDS_UNTIL_REPEATED


def confirm_cancelled(flow: Flow[Any, Any], flow_run: FlowRun, state: State) -> None:
    """Set the states of a cancelled run's stages to Cancelled, and that of a command's run.

    For a command's run the server would otherwise wait 5 minutes. A stage that the cancellation interrupted would be
    shown as Failed or Crashed, or as Running for ever. One that failed before keeps its state and its reason. A hook
    for `on_cancellation`; Prefect requires these parameter names.
    """
    with get_client(sync_client=True) as client:
        if flow_run.deployment_id is None:
            client.set_flow_run_state(flow_run.id, Cancelled(message="The command that ran it has ended."))
        _confirm_stages(client, flow_run.id)
        # The part of a sweep that was running. Trainings on a GPU worker are runs of a deployment.
        of_sweep = FlowRunFilter(
            parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[flow_run.id]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED, StateType.FAILED])),
        )
        for part in client.read_flow_runs(flow_run_filter=of_sweep):
            if part.deployment_id is None and part.state is not None and _was_interrupted(part.state):
                client.set_flow_run_state(part.id, Cancelled(message=RUN_CANCELLED), force=True)
                _confirm_stages(client, part.id)


def _confirm_stages(client: SyncPrefectClient, run_id: UUID) -> None:
    """Set the states of interrupted stages of a cancelled run to Cancelled."""
    for stage in list(_stages(client, run_id)):
        if stage.state is not None and _was_interrupted(stage.state):
            client.set_task_run_state(stage.id, Cancelled(message=RUN_CANCELLED), force=True)


def _stages(client: SyncPrefectClient, run_id: UUID) -> Iterator[TaskRun]:
    """Yield the task runs of a flow run, of which the server gives so many at once."""
    of_run, num = FlowRunFilter(id=FlowRunFilterId(any_=[run_id])), 0
    while page := client.read_task_runs(flow_run_filter=of_run, limit=PAGE, offset=num):
        yield from page
        num += len(page)


def _was_interrupted(state: State) -> bool:
    """Return whether a stage or part of a cancelled run was interrupted, and neither ended nor failed before."""
    if state.type == StateType.FAILED:
        return RunCancelledError.__name__ in (state.message or "")
    return not state.is_final() or state.type == StateType.CRASHED
