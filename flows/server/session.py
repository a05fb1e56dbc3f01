"""A Prefect session for a command in a terminal: a server that answers, and short logs."""

import logging
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_DEFAULT_RESULT_STORAGE_BLOCK,
    PREFECT_RESULTS_DEFAULT_SERIALIZER,
    PREFECT_SERVER_EPHEMERAL_ENABLED,
    Settings,
    temporary_settings,
)
from prefect.task_engine import TaskRunTimeoutError

from flows.server.embedded import ONE_PROCESS, ServerError, embedded_server
from flows.server.prefect_settings import (
    API_URL,
    AUTH_STRING,
    CERTIFICATES,
    EPHEMERAL,
    SERVER_AUTH_STRING,
    given_settings,
    origin_of,
)
from gan.errors import FashionGanError, describe_error
from gan.system.interrupts import remember_ctrl_c
from gan.system.proxies import bypass_proxies, faulty_proxy, is_loopback, proxy_for, without_credentials

FINISHED = re.compile(r"Finished in state (?P<state>\w+)\((.*?encountered an exception:? (?P<error>\w+))?", re.DOTALL)

HIDDEN = re.compile(
    r"Running hook |Hook '\w+' finished|An error was encountered while committing|Failed to write result: "
)
"""Log lines that the terminal does not show: hooks log too, and a stage fails if its result cannot be recorded."""

ATTEMPTS_AT_START, SECONDS_AT_START = 2, 20.0
"""Limits of the first request, since the server may not exist. During a run, requests are retried for minutes."""

SECONDS_UNTIL_LISTENING = 30
"""How long a command that needs a permanent server waits for it: users start both at the same time."""

log = logging.getLogger(__name__)

EXPLAINED = (FashionGanError, httpx.HTTPError, TaskRunTimeoutError)
"""Errors that need no traceback, because the command ends with their message."""


@contextmanager
def prefect_session(needs_server: str | None = None) -> Iterator[None]:
    """Connect to the Prefect server, or start the embedded one if none is set, and keep the terminal readable.

    Args:
        needs_server: A sentence without its full stop that says what needs a permanent server; None if the embedded
            one, which ends with the command, is enough.

    Raises:
        ServerError: If the server does not answer or rejects the auth string, or the embedded one cannot start or is
            not enough.
    """
    is_embedded = PREFECT_API_URL.value() is None
    if is_embedded and needs_server:
        raise ServerError(
            f"{needs_server}, but {API_URL} is not set, and the embedded server ends with a command.\n"
            f"Start a server (make server) and set {API_URL}=http://127.0.0.1:4200/api."
        )
    if is_embedded and not PREFECT_SERVER_EPHEMERAL_ENABLED.value():
        raise ServerError(
            f"There is no Prefect server: {API_URL} is not set, and the embedded server is switched off "
            f"({_origin(*EPHEMERAL)}).\n"
            f"Start a server (make server) and set {API_URL}=http://127.0.0.1:4200/api, or allow the embedded one: "
            f"{_remedy(*EPHEMERAL)}."
        )
    _check_http_client()
    # Each stage sets how its result is stored. A flow stores none, but Prefect would load these for it.
    unused = {PREFECT_DEFAULT_RESULT_STORAGE_BLOCK, PREFECT_RESULTS_DEFAULT_SERIALIZER}
    defaults = temporary_settings(restore_defaults=unused)
    server = embedded_server() if is_embedded else nullcontext()
    # Commands that need a permanent server run no stages, and asyncio handles Ctrl-C only in place of Python's handler.
    ctrl_c = nullcontext() if needs_server else remember_ctrl_c()
    with ctrl_c, defaults, short_logs(), _explained(), server:
        if needs_server:
            _wait_for_server()
        _check_server(or_else="" if needs_server else f", or, to use the embedded one: {_remedy(API_URL)}")
        yield


@contextmanager
def short_logs() -> Iterator[None]:
    """Within the block, show each failure in one line in the terminal."""
    with ExitStack() as stack:
        for handler in logging.getLogger().handlers:
            handler.addFilter(_shorten)
            stack.callback(handler.removeFilter, _shorten)
        yield


@contextmanager
def embedded_server_shared() -> Iterator[None]:
    """Within the block, let child processes use the embedded server of this one, if it has one."""
    from prefect.server.api.server import SubprocessASGIServer

    with temporary_settings({PREFECT_API_URL: PREFECT_API_URL.value() or SubprocessASGIServer().api_url}):
        yield


@contextmanager
def _explained() -> Iterator[None]:
    """Turn a time limit or a failed request within the block into an error for the user."""
    try:
        yield
    except TaskRunTimeoutError as error:
        raise FashionGanError(f"{error}.\nRun the same command again: it continues with what is finished.") from error
    except httpx.HTTPError as error:
        raise ServerError(
            f"{_server()}{_through()} was away for too long, or rejects requests ({describe_error(error)}).\n"
            f"{_server_settings()}Make sure that it runs. Then run the same command again: it continues with what is "
            "finished."
        ) from error


def _check_http_client() -> None:
    """Check that the proxy and the certificates allow an HTTP client for the server."""
    url = PREFECT_API_URL.value()
    if url is None:
        return
    host = urlsplit(url).hostname or ""
    if is_loopback(host):
        bypass_proxies(host)
    if proxy := faulty_proxy(url):
        raise ServerError(
            f"{_server()} is to be reached through {proxy}, which cannot be used: {proxy.fault}.\n"
            f"Correct or unset {proxy.variable}, or name the server's host in NO_PROXY."
        )
    certificates, is_unused = PREFECT_API_SSL_CERT_FILE.value(), PREFECT_API_TLS_INSECURE_SKIP_VERIFY.value()
    if url.startswith("https:") and certificates and not is_unused:
        try:
            ssl.create_default_context(cafile=certificates)
        except OSError as error:  # includes ssl.SSLError
            raise ServerError(
                f"The Prefect server's certificates in {certificates} cannot be read: {error.strerror or error}.\n"
                f"That file is {_origin(CERTIFICATES)}. Correct it, or use the system's: {_remedy(CERTIFICATES)}."
            ) from error


def _wait_for_server() -> None:
    """Wait for a while, as long as nothing listens at the server's address."""
    deadline = time.monotonic() + SECONDS_UNTIL_LISTENING
    with _limited_patience(attempts=0), get_client(sync_client=True) as client:
        is_said = False
        while _is_refused(client.api_healthcheck()) and time.monotonic() < deadline:
            if not is_said:
                log.warning("%s does not answer yet; waiting for up to %d s.", _server(), SECONDS_UNTIL_LISTENING)
            is_said = True
            time.sleep(1)


def _is_refused(failure: BaseException | None) -> bool:
    """Return whether a request failed because nothing listens; an unknown host or a wrong certificate is no reason."""
    while failure and not isinstance(failure, ConnectionRefusedError):
        failure = failure.__cause__ or failure.__context__
    return failure is not None


def _limited_patience(attempts: int) -> AbstractContextManager[Settings]:
    """Within the block, give up a request to the server soon; `attempts` is how often it is repeated."""
    timeout = min(SECONDS_AT_START, PREFECT_API_REQUEST_TIMEOUT.value())
    return temporary_settings({PREFECT_CLIENT_MAX_RETRIES: attempts, PREFECT_API_REQUEST_TIMEOUT: timeout})


def _check_server(or_else: str) -> None:
    """Check that the server answers, that it is a Prefect server, and that it accepts the auth string.

    `or_else` is what the user can do instead of starting the server.
    """
    with _limited_patience(ATTEMPTS_AT_START), get_client(sync_client=True) as client:
        if failure := client.api_healthcheck():
            raise ServerError(
                f"{_server()}{_through()} does not answer: {failure}.\n"
                f"That address is {_origin(API_URL)}; it should have the form http://127.0.0.1:4200/api.\n"
                f"Start the server (make server){or_else}."
            )
        try:
            client.api_version()  # any web server may report that it is healthy
        except (PrefectHTTPStatusError, ValueError) as error:  # ValueError: the answer is not JSON
            if isinstance(error, PrefectHTTPStatusError) and error.response.status_code == HTTPStatus.UNAUTHORIZED:
                raise _rejected() from error
            raise ServerError(
                f"{_server()} answers, but not as a Prefect server does ({type(error).__name__}).\n"
                f"{_server_settings()}Its address is {_origin(API_URL)}; it should have the form "
                "http://127.0.0.1:4200/api, where make server runs."
            ) from error


def _rejected() -> ServerError:
    if PREFECT_API_URL.value() is None:
        return ServerError(
            f"The embedded Prefect server requires an auth string ({_origin(SERVER_AUTH_STRING)}).\n"
            f"It needs none, since only this machine reaches it: {_remedy(SERVER_AUTH_STRING)}. "
            f"Or set {AUTH_STRING} to the same."
        )
    given = origin_of(AUTH_STRING)
    return ServerError(
        f"{_server()} does not let us in: it rejects our auth string.\n"
        f"Set {AUTH_STRING} here to the value of {SERVER_AUTH_STRING} there. "
        f"It is {f'set {given.place}' if given else 'not set'} now."
    )


def _server() -> str:
    """Return a description of the server for messages, without a password that its address may contain."""
    url = PREFECT_API_URL.value()
    return f"The Prefect server at {without_credentials(url)}" if url else "The embedded Prefect server"


def _through() -> str:
    url = PREFECT_API_URL.value()
    proxy = proxy_for(url) if url else None
    return f", reached through {proxy}," if proxy else ""


def _server_settings() -> str:
    """List the changed settings of an embedded server: one of them may be the cause of an error."""
    if PREFECT_API_URL.value():
        return ""
    made = [g for g in given_settings() if g.name.startswith("PREFECT_SERVER_") and g.name not in ONE_PROCESS]
    return f"It was started with {', '.join(f'{g.name} ({g.place})' for g in made)}. " if made else ""


def _origin(*names: str) -> str:
    given = origin_of(*names)
    return f"{given.name}, {given.place}" if given else f"{names[0]}, Prefect's default"


def _remedy(*names: str) -> str:
    given = origin_of(*names)
    return given.remedy if given else f"set {names[0]}=true"


def _shorten(record: logging.LogRecord) -> bool:
    """Shorten the end of a run to a word, and a failure to one line: its whole message comes last in the terminal.

    The server gets all of it.
    """
    if HIDDEN.match(record.getMessage()):
        return False
    if isinstance(record.exc_info, tuple) and isinstance(record.exc_info[1], EXPLAINED):
        if "will start" not in record.getMessage():  # the line of a retry stays
            return False
        record.exc_info = record.exc_text = None
    if found := FINISHED.match(record.getMessage()):
        record.msg, record.args = found["state"] + (f" ({found['error']})" if found["error"] else ""), ()
    return True
