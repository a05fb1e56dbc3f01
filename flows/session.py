"""A Prefect session for a command in a terminal: a server that answers, and no noise that is not the user's."""

import logging
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_engine import TaskRunTimeoutError

from flows.embedded import ServerError, embedded_servers_watched
from gan.errors import FashionGanError

FAILED = re.compile(r"Finished in state (?P<state>\w+)\(.*?encountered an exception:? (?P<error>\w+)")

SAID_ELSEWHERE = re.compile(
    r"Running hook |Hook '\w+' finished|An error was encountered while committing transaction|Failed to write result: "
)
"""Hooks say for themselves what they do, and a stage ends with an error if its result cannot be recorded."""


EXPLAINED = (FashionGanError, httpx.HTTPError, TaskRunTimeoutError)
"""Errors that need no traceback: a command ends with what they say."""


@contextmanager
def prefect_session() -> Iterator[None]:
    """Make sure that a server answers (the embedded one is started if none is set), and keep the terminal readable.

    Raises:
        ServerError: If PREFECT_API_URL names a server that does not answer, or does not let us in, or the embedded one
            cannot start.
    """
    with ExitStack() as stack:
        if PREFECT_API_URL.value() is None:
            stack.enter_context(embedded_servers_watched())
        _start_server()
        stack.enter_context(short_logs())
        with _explained():
            yield


@contextmanager
def short_logs() -> Iterator[None]:
    """Within it, what a terminal shows of a failure is one line."""
    with ExitStack() as stack:
        for handler in logging.getLogger().handlers:
            handler.addFilter(_keep_short)
            stack.callback(handler.removeFilter, _keep_short)
        yield


@contextmanager
def embedded_server_shared() -> Iterator[None]:
    """Within it, processes that are started use the embedded server of this one, if that is the server here."""
    if PREFECT_API_URL.value() is not None:
        yield
        return
    from prefect.server.api.server import SubprocessASGIServer

    with temporary_settings({PREFECT_API_URL: SubprocessASGIServer().api_url}):
        yield


@contextmanager
def _explained() -> Iterator[None]:
    """Within it, what a server or a stage does that nobody has foreseen more closely is an error for the user."""
    try:
        yield
    except TaskRunTimeoutError as error:
        raise FashionGanError(f"{error}.\nRun the same command again: it goes on from what is finished.") from error
    except httpx.HTTPError as error:
        raise ServerError(
            f"The Prefect server at {PREFECT_API_URL.value()} was away for too long, or refuses "
            f"({type(error).__name__}: {str(error).partition(chr(10))[0]}).\n"
            "See that it runs, then run the same command again: it goes on from what is finished."
        ) from error


def _start_server() -> None:
    """Start the embedded server with Ctrl-C held back from it; a running server is only asked for its health.

    A terminal sends Ctrl-C to every process of the command. The embedded server must outlive it by a moment, for the
    run to be recorded as crashed; a process inherits which signals are blocked.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with get_client(sync_client=True) as client:
            failure = client.api_healthcheck()
            if failure is None:
                _refuse_strangers(client)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if failure is not None:
        raise ServerError(
            f"The Prefect server at {PREFECT_API_URL.value()} does not answer: {failure}.\n"
            "Start it (make server), or unset PREFECT_API_URL to use the embedded one."
        )


def _refuse_strangers(client: SyncPrefectClient) -> None:
    """Find out whether the server lets us in: that it is well it tells everybody."""
    try:
        client.api_version()
    except PrefectHTTPStatusError as error:
        if error.response.status_code != HTTPStatus.UNAUTHORIZED:
            raise
        raise ServerError(
            f"The Prefect server at {PREFECT_API_URL.value()} does not let us in: it expects another auth string.\n"
            "Set PREFECT_API_AUTH_STRING here to what PREFECT_SERVER_API_AUTH_STRING is there."
        ) from error


def _keep_short(record: logging.LogRecord) -> bool:
    """Leave one short line of a failure to each task and flow: the command ends with the whole message.

    The traceback of an error that explains itself goes, and its line too unless it tells of a retry; how a run finished
    is said without the message, and hooks not at all. What the server records was handed over before: it stays whole.
    """
    if SAID_ELSEWHERE.match(record.getMessage()):
        return False
    if isinstance(record.exc_info, tuple) and isinstance(record.exc_info[1], EXPLAINED):
        if "will start" not in record.getMessage():
            return False
        record.exc_info = record.exc_text = None
    failure = FAILED.match(record.getMessage())
    if failure:
        record.msg, record.args = f"Finished in state {failure['state']} ({failure['error']})", ()
    return True
