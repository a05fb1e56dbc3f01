"""A Prefect session for a command in a terminal: a server that answers, and no noise that is not the user's."""

import logging
import re
import signal
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_DEFAULT_RESULT_STORAGE_BLOCK,
    PREFECT_SERVER_EPHEMERAL_ENABLED,
    temporary_settings,
)
from prefect.task_engine import TaskRunTimeoutError

from flows.server.embedded import ServerError, embedded_servers_watched
from flows.server.prefect_settings import (
    API_URL,
    AUTH_STRING,
    CERTIFICATES,
    EPHEMERAL,
    SERVER_AUTH_STRING,
    given_settings,
    origin_of,
)
from gan.errors import FashionGanError
from gan.system.proxies import ask_directly, faulty_proxy, is_loopback, proxy_for, without_credentials

FAILED = re.compile(r"Finished in state (?P<state>\w+)\(.*?encountered an exception:? (?P<error>\w+)")

SAID_ELSEWHERE = re.compile(
    r"Running hook |Hook '\w+' finished|An error was encountered while committing transaction|Failed to write result: "
)
"""Hooks say for themselves what they do, and a stage ends with an error if its result cannot be recorded."""


TRIES_AT_START, SECONDS_AT_START = 2, 20.0
"""How often, and how long each time, a server is asked that may never have been there; in a run it is for minutes."""

EXPLAINED = (FashionGanError, httpx.HTTPError, TaskRunTimeoutError)
"""Errors that need no traceback: a command ends with what they say."""


@contextmanager
def prefect_session() -> Iterator[None]:
    """Make sure that a server answers (the embedded one is started if none is set), and keep the terminal readable.

    Raises:
        ServerError: If PREFECT_API_URL names a server that does not answer, or does not let us in, or the embedded one
            cannot start or is switched off.
    """
    with ExitStack() as stack:
        if PREFECT_API_URL.value() is None:
            _refuse_without_server()
            stack.enter_context(embedded_servers_watched())
        _check_http_client()
        # Stages say themselves where their results go; a flow of ours has none, but Prefect would look for the block.
        stack.enter_context(temporary_settings(restore_defaults={PREFECT_DEFAULT_RESULT_STORAGE_BLOCK}))
        stack.enter_context(short_logs())
        with _explained():
            _start_server()
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
            f"{_server()}{_through()} was away for too long, or refuses "
            f"({type(error).__name__}: {str(error).partition(chr(10))[0]}).\n"
            f"{_server_settings()}See that it runs, then run the same command again: it goes on from what is finished."
        ) from error


def _refuse_without_server() -> None:
    """Refuse to run where no server is named and the embedded one is switched off."""
    if not PREFECT_SERVER_EPHEMERAL_ENABLED.value():
        raise ServerError(
            f"There is no Prefect server: {API_URL} is not set, and the embedded server is switched off "
            f"({_described(*EPHEMERAL)}).\n"
            f"Start a server (make server) and set {API_URL}=http://127.0.0.1:4200/api, or allow the embedded one: "
            f"{_way_out(*EPHEMERAL)}."
        )


def _check_http_client() -> None:
    """Find out whether a client can be made for the server: proxies and certificates can prevent it."""
    url = PREFECT_API_URL.value()
    host = urlsplit(url or "").hostname or ""
    if is_loopback(host):
        ask_directly(host)
    proxy = faulty_proxy(url) if url else None
    if proxy:
        raise ServerError(
            f"{_server()} is to be asked through {proxy}, which cannot be used: {proxy.fault}.\n"
            f"Correct or unset {proxy.variable}, or name the server's host in NO_PROXY."
        )
    certificates, ignored = PREFECT_API_SSL_CERT_FILE.value(), PREFECT_API_TLS_INSECURE_SKIP_VERIFY.value()
    if url and url.startswith("https:") and certificates and not ignored:
        try:
            ssl.create_default_context(cafile=certificates)
        except OSError as error:  # of ssl as well
            raise ServerError(
                f"The Prefect server's certificates in {certificates} cannot be read: {error.strerror or error}.\n"
                f"That file is {_described(CERTIFICATES)}. Correct it, or use the system's: {_way_out(CERTIFICATES)}."
            ) from error


def _start_server() -> None:
    """Start the embedded server with Ctrl-C held back from it; a running server is only asked for its health.

    A terminal sends Ctrl-C to every process of the command. The embedded server must outlive it by a moment, for the
    run to be recorded as crashed; a process inherits which signals are blocked.
    """
    timeout = min(SECONDS_AT_START, PREFECT_API_REQUEST_TIMEOUT.value())
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: TRIES_AT_START, PREFECT_API_REQUEST_TIMEOUT: timeout}),
            get_client(sync_client=True) as client,
        ):
            failure = client.api_healthcheck()
            if failure is None:
                _refuse_strangers(client)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if failure is not None:
        raise ServerError(
            f"{_server()}{_through()} does not answer: {failure}.\n"
            f"That address is {_described(API_URL)}; it should look like http://127.0.0.1:4200/api.\n"
            f"Start the server (make server), or, to use the embedded one: {_way_out(API_URL)}."
        )


def _server_settings() -> str:
    """The settings of an embedded server that are not its defaults: one of them may be what is wrong."""
    made = [] if PREFECT_API_URL.value() else [g for g in given_settings() if g.name.startswith("PREFECT_SERVER_")]
    return f"It was started with {', '.join(f'{g.name} ({g.place})' for g in made)}. " if made else ""


def _through() -> str:
    """The proxy that the server is asked through, for people."""
    url = PREFECT_API_URL.value()
    proxy = proxy_for(url) if url else None
    return f", asked through {proxy}," if proxy else ""


def _described(*names: str) -> str:
    """A setting and where it was made, for people."""
    given = origin_of(*names)
    return f"{given.name}, {given.place}" if given else f"{names[0]}, Prefect's default"


def _way_out(*names: str) -> str:
    """How to take a setting back."""
    given = origin_of(*names)
    return given.suggest_remedy if given else f"set {names[0]}=true"


def _refuse_strangers(client: SyncPrefectClient) -> None:
    """Find out whether it is a Prefect server, and lets us in: any web server may say that it is well."""
    try:
        client.api_version()
    except (PrefectHTTPStatusError, ValueError) as error:  # its answer is no JSON
        refused = isinstance(error, PrefectHTTPStatusError) and error.response.status_code == HTTPStatus.UNAUTHORIZED
        if not refused:
            raise ServerError(
                f"{_server()} answers, but not as a Prefect server does ({type(error).__name__}).\n"
                f"{_server_settings()}Its address is {_described(API_URL)}; it should look like "
                "http://127.0.0.1:4200/api, where make server runs."
            ) from error
        raise _rejected() from error


def _rejected() -> ServerError:
    """What to do about a server that asks for another auth string."""
    if PREFECT_API_URL.value() is None:
        return ServerError(
            f"The embedded Prefect server asks for an auth string ({_described(SERVER_AUTH_STRING)}).\n"
            f"It needs none, since only this machine reaches it: {_way_out(SERVER_AUTH_STRING)}. "
            f"Or set {AUTH_STRING} to the same."
        )
    made = origin_of(AUTH_STRING)
    present = f"It is set {made.place} now." if made else "It is not set now."
    return ServerError(
        f"{_server()} does not let us in: it rejects our auth string.\n"
        f"Set {AUTH_STRING} here to what {SERVER_AUTH_STRING} is there. {present}"
    )


def _server() -> str:
    """The server for people, without a password that its address may hold."""
    url = PREFECT_API_URL.value()
    return f"The Prefect server at {without_credentials(url)}" if url else "The embedded Prefect server"


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
