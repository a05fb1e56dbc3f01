"""A command's run that is cancelled in the UI ends, as a worker's does."""

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
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run as this_run
from prefect.states import Cancelled

from gan.errors import FashionGanError
from gan.system.interrupts import CANCELLED

SECONDS_BETWEEN_LOOKS = 3.0
SECONDS_UNTIL_SAID_AGAIN = 30.0


class RunCancelledError(FashionGanError):
    """Somebody cancelled the run."""


@contextmanager
def stop_when_cancelled() -> Iterator[None]:
    """Look, beside the run's work, whether it was cancelled, and end it then; a training saves a checkpoint first.

    For its own runs a worker does this; of a command in a terminal nobody else takes care.

    Raises:
        RunCancelledError: Wherever the main thread is, once the run was cancelled.
    """
    if _is_a_workers() or threading.current_thread() is not threading.main_thread():
        yield
        return
    done = threading.Event()
    look = copy_context().run  # the settings in use here hold there as well
    watch = threading.Thread(target=look, args=(_watch, UUID(this_run.get_id()), done), daemon=True)
    signal.signal(CANCELLED, _stop)
    watch.start()
    try:
        yield
    finally:
        done.set()
        signal.signal(CANCELLED, signal.SIG_IGN)  # by default it would kill a process whose run has just ended well


def _is_a_workers() -> bool:
    """Whether this process was started by a worker, or by one that serves, for one run."""
    return "PREFECT__FLOW_RUN_ID" in os.environ


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise RunCancelledError("The run was cancelled.\nRun the same command again: it goes on from what is finished.")


def _watch(run_id: UUID, done: threading.Event) -> None:
    """Interrupt the main thread once the run was cancelled, and again if somebody swallowed that."""
    wait = SECONDS_BETWEEN_LOOKS
    with get_client(sync_client=True) as client:
        while not done.wait(wait):
            try:
                state = client.read_flow_run(run_id).state
            except (httpx.HTTPError, PrefectException):
                continue  # a server that is away cancels nothing
            if state is not None and state.type in {StateType.CANCELLING, StateType.CANCELLED}:
                os.kill(os.getpid(), CANCELLED)
                wait = SECONDS_UNTIL_SAID_AGAIN


def confirm_cancelled(flow: Flow[Any, Any], flow_run: FlowRun, state: State) -> None:
    """Hook on a run of a command that was cancelled in the UI; Prefect names the parameters.

    A worker does this for its runs. Nobody does it for a command, and the server would wait for 5 minutes.
    """
    if _is_a_workers():
        return
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, Cancelled(message="The command that ran it has ended."))
