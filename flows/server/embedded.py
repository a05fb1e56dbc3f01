"""The embedded Prefect server of a command: it ends with the command, or explains why it does not start."""

import atexit
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context
from typing import IO, TYPE_CHECKING

import httpx
from prefect.settings import PREFECT_HOME, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, get_current_settings

from flows.server.prefect_settings import BASE_PATH, DATABASE, origin_of
from gan.errors import FashionGanError

if TYPE_CHECKING:
    from prefect.server.api.server import SubprocessASGIServer

SERVE = (
    "import sys, uvicorn; from prefect.server.api.server import create_app; "
    "uvicorn.run(lambda: create_app(ephemeral=True, final=True), factory=True, host='127.0.0.1', "
    "port=int(sys.argv[1]), log_level='error', lifespan='on')"
)
STARTUP_FAILED = 3  # exit code of uvicorn when the application does not start
SECONDS_BEFORE_RESTART = 1.0
ONE_PROCESS = {
    "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect.server.utilities.messaging.memory",
    "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect.server.utilities.messaging.memory",
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect.server.events.ordering.memory",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.memory",
    "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": "prefect.server.worker_communication.cleanup_queue.memory",
    "PREFECT_SERVER_DOCKET_URL": "memory://",
}
"""Prefect's defaults for a server that is one process. A profile may have those of a large server, with Redis, whose
modules are not installed here, or which would share that server's queue."""

LAST_LINE_OF_TRACEBACK = re.compile(r"^[\w.]*(?:Error|Exception|Warning): .+", re.MULTILINE)

log = logging.getLogger("prefect")


class ServerError(FashionGanError):
    """The Prefect server does not answer."""


@contextmanager
def embedded_server() -> Iterator[None]:
    """Start the server that Prefect's clients use when no API URL is set; it ends after the block, with this process.

    Prefect's client would start the same server, but would not end it if this process is killed during the start, and
    would report a server that ends early only after the timeout. The start is tried twice, because another command may
    create the database or take the port at the same moment. A server that is killed later is started again.
    """
    from prefect.server.api.server import SubprocessASGIServer

    server = SubprocessASGIServer()  # one instance in a process
    if server.running:
        yield
        return
    stopping, guards = threading.Event(), ExitStack()
    for at_exit in (guards.close, server.stop, stopping.set):  # the function that was registered last runs first
        atexit.register(at_exit)
    for is_last in (False, True):
        server.port = server.find_available_port()
        log.info("Starting temporary server on %s", server.address)
        try:
            _start(server, guards)
            break
        except ServerError as error:
            if is_last or not error.transient:
                raise
    with_settings = copy_context().run  # the thread needs this thread's Prefect settings
    threading.Thread(target=with_settings, args=(_start_again, server, guards, stopping), daemon=True).start()
    yield


def _start(server: "SubprocessASGIServer", guards: ExitStack) -> None:
    """Start the server's process at its port, and wait until it answers; otherwise end it and raise a `ServerError`."""
    assert server.port
    process, answers = _start_process(server.port), False
    with ExitStack() as guard:
        try:
            assert process.stderr
            output = _Output(process.stderr)
            guard.enter_context(_ended_with_this_process(process.pid))
            answers = _wait_until_healthy(server.api_url, process)
        finally:
            if not answers:
                is_port_taken = process.poll() is not None and not server.is_port_available(server.port)
                is_temporary = is_port_taken or process.poll() == STARTUP_FAILED
                process.kill()
                process.wait()
        if not answers:
            raise ServerError(_explain(output.read()), transient=is_temporary)
        server.server_process, server.running = process, True
        atexit.register(output.drop)  # runs before the server is stopped
        output.show()
        guards.enter_context(guard.pop_all())


def _start_again(server: "SubprocessASGIServer", guards: ExitStack, stopping: threading.Event) -> None:
    """Start the server again at its port whenever it has ended, until this process stops it.

    Requests are repeated for minutes, so a run does not notice. Without a server they would fail after minutes.
    """
    process = server.server_process
    while process:
        code = process.wait()
        if stopping.is_set():
            return
        log.warning("The embedded Prefect server has ended (exit code %s): starting it again.", code)
        guards.close()  # the guard of the process that is gone
        was_explained = False
        while process and process.poll() is not None and not stopping.wait(SECONDS_BEFORE_RESTART):
            try:
                _start(server, guards)
            except (ServerError, OSError) as error:
                if not was_explained:
                    log.warning("%s\nTrying again until it starts.", error)
                was_explained = True
            process = server.server_process


def _start_process(port: int) -> subprocess.Popen[str]:
    """Start the server in a session of its own, since Ctrl-C and SIGTERM may go to every process of a command.

    The server has to outlive the command by a moment, to record the run as crashed.
    """
    command = [sys.executable, "-c", SERVE, str(port)]
    env = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True), **ONE_PROCESS}
    return subprocess.Popen(
        command, env=env, stderr=subprocess.PIPE, encoding="utf-8", errors="replace", start_new_session=True
    )


def _wait_until_healthy(api_url: str, process: subprocess.Popen[str]) -> bool:
    """Return whether the server answers within its start-up timeout."""
    deadline = time.monotonic() + PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
    with httpx.Client(trust_env=False) as client:  # on this machine: no proxy
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                answer = client.get(f"{api_url}/health")
                if answer.is_success:
                    return True
                if answer.is_client_error and (moved := origin_of(BASE_PATH)):
                    raise ServerError(
                        f"The embedded Prefect server answers {answer.status_code} at {api_url}.\n"
                        f"{moved.name}={moved.value} ({moved.place}) moves it. To undo it: {moved.remedy}."
                    )
            time.sleep(0.1)
    return False


def _explain(output: str) -> str:
    reasons = LAST_LINE_OF_TRACEBACK.findall(output)
    setting, other = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, origin_of(*DATABASE)
    database = f"the one of {other.name}, {other.place}" if other else PREFECT_HOME.value() / "prefect.db"
    return (
        f"The embedded Prefect server does not start: {reasons[-1] if reasons else 'it gives no reason'}.\n"
        f"Its database is {database}. It must be intact, not from a newer Prefect, not locked by another program, and "
        "on a writable disk with free space. A damaged or newer one can be moved away: this loses the pages of earlier "
        "runs, but no result and no published run. PREFECT_HOME names another folder for it. A slow machine may need "
        "more than "
        f"{setting.name}={setting.value()}."
    )


class _Output:
    """The standard error of a server. It is held back until the server answers: a traceback is no clear error."""

    def __init__(self, pipe: IO[str]) -> None:
        self._held: list[str] = []
        self._write: Callable[[str], object] = self._held.append
        self._thread = threading.Thread(target=self._copy, args=(pipe,), daemon=True)
        self._thread.start()

    def _copy(self, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                self._write(line)

    def show(self) -> None:
        """Write the output so far to the terminal, and later lines as they arrive."""
        self._write = sys.stderr.write
        sys.stderr.writelines(self._held)

    def drop(self) -> None:
        """Write no later lines: a server that shuts down may report the requests that it cancels, with tracebacks."""
        self._write = lambda line: None

    def read(self) -> str:
        """Return the whole output of a server that has ended."""
        self._thread.join(10)
        return "".join(self._held)


END_WHEN_THE_PIPE_ENDS = """
read line && exit
kill "$0" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 1; kill -0 "$0" 2>/dev/null || exit; done
kill -9 "$0"
"""
"""A shell script that ends the process whose ID is its name."""


@contextmanager
def _ended_with_this_process(pid: int) -> Iterator[None]:
    """End a process when this one is killed within the block.

    No handler runs after a SIGKILL, so a shell reads from a pipe that only this process holds open. A line means that
    the block has ended; the end of the pipe means that this process was killed. A server may hang while it shuts down
    (seen once on an overloaded machine), so after ten seconds it is killed.
    """
    watch = ["sh", "-c", END_WHEN_THE_PIPE_ENDS, str(pid)]
    with subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True, text=True) as guard:
        try:
            yield
        finally:
            guard.communicate("done\n")
