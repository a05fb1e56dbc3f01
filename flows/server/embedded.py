"""The embedded Prefect server of a command: it ends with the command, and one that cannot start is one clear error."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any

import httpx
from prefect.settings import PREFECT_HOME, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS

from flows.server.prefect_settings import BASE_PATH, DATABASE, origin_of
from gan.errors import FashionGanError

STARTS_AGAIN = 3
"""The exit code of a server after which Prefect starts another one."""

REASON = re.compile(r"^[\w.]*(?:Error|Exception|Warning): .+", re.MULTILINE)
"""The last line of a traceback."""


class ServerError(FashionGanError):
    """The Prefect server does not answer."""


@contextmanager
def embedded_servers_watched() -> Iterator[None]:
    """End every embedded server that Prefect starts from now on when this process is gone, however that came about.

    It may take a minute until a server answers, so it is watched from its first moment: Prefect's own method of
    starting it is wrapped, since there is no hook. One that ends before it answers is started again by Prefect until
    its time is over. Here it has one more try, since another command may have made the database at the same moment;
    then that is an error, unless somebody else had taken its port.
    """
    from prefect.server.api.server import SubprocessASGIServer

    start, tries_left = SubprocessASGIServer._run_uvicorn_command, 1
    with ExitStack() as callbacks:

        def start_watched(server: Any) -> "subprocess.Popen[Any]":
            nonlocal tries_left
            with _stderr_to_pipe() as pipe:
                process: subprocess.Popen[Any] = start(server)
            with _ended_on_error(process):
                output = _Output(pipe)
                callbacks.enter_context(_ending_with_us(process.pid))
                is_there = _answers(server, process)
                if is_there or (process.poll() is not None and not server.is_port_available(server.port)):
                    output.show()
                    return process
                if process.poll() == STARTS_AGAIN and tries_left:
                    tries_left -= 1
                    return process
                process.kill()  # so that its output has an end
                raise _explain(output.whole())

        SubprocessASGIServer._run_uvicorn_command = start_watched  # type: ignore[assignment, method-assign]
        try:
            yield
        finally:
            SubprocessASGIServer._run_uvicorn_command = start  # type: ignore[method-assign]


@contextmanager
def _ended_on_error(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """Leave no server behind when something goes wrong before Prefect knows of it."""
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        raise


def _answers(server: Any, process: "subprocess.Popen[Any]") -> bool:
    """Whether it comes to that in the time that it has."""
    deadline = time.monotonic() + PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
    with httpx.Client(trust_env=False) as client:  # it is on this machine: no proxy
        while process.poll() is None and time.monotonic() < deadline:
            try:
                answer = client.get(f"{server.api_url}/health")
                if answer.is_success:
                    return True
                if answer.is_client_error and not server.is_port_available(server.port):
                    raise _not_there(server.api_url, answer)
            except httpx.TransportError:
                pass
            time.sleep(0.1)
    return False


def _not_there(url: str, answer: httpx.Response) -> ServerError:
    """Why a server that has started does not answer where it is asked."""
    made = origin_of(BASE_PATH)
    cause = (
        f"{made.name}={made.value} ({made.place}) moves it. To undo it: {made.suggest_remedy}"
        if made
        else "Is it ours?"
    )
    return ServerError(f"The embedded Prefect server answers {answer.status_code} at {url}.\n{cause}.")


def _explain(said: str) -> ServerError:
    """Why no server has come of it, as far as it has said so itself."""
    reasons = REASON.findall(said)
    reason = reasons[-1] if reasons else "it gives no reason"
    setting, other = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, origin_of(*DATABASE)
    database = f"the one of {other.name}, {other.place}" if other else PREFECT_HOME.value() / "prefect.db"
    return ServerError(
        f"The embedded Prefect server does not start: {reason}.\n"
        f"Its database is {database}. It must be whole, not "
        "locked by another program, and on a disk that has room and may be written. A damaged one can be moved away: "
        "with it go the pages of earlier runs, but no result and no published run. PREFECT_HOME names another folder "
        f"for it. A slow machine may need more than {setting.name}={setting.value()}."
    )


@contextmanager
def _stderr_to_pipe() -> Iterator[IO[str]]:
    """What a process that is started within this block writes to stderr can be read from here."""
    reader, writer = os.pipe()
    ours = os.dup(2)
    os.dup2(writer, 2)
    os.close(writer)
    try:
        yield open(reader, encoding="utf-8", errors="replace")  # noqa: SIM115, PTH123  # its reader closes it
    finally:
        os.dup2(ours, 2)
        os.close(ours)


class _Output:
    """What a server says, kept back until it is known whether it is wanted: a traceback is no clear error."""

    def __init__(self, pipe: IO[str]) -> None:
        self._kept: list[str] | None = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                with self._lock:
                    if self._kept is None:
                        sys.stderr.write(line)
                    else:
                        self._kept.append(line)

    def show(self) -> None:
        """Show in the terminal what was said, and all that will be."""
        with self._lock:
            sys.stderr.writelines(self._kept or ())
            self._kept = None

    def whole(self) -> str:
        """All that a server has said that is over."""
        self._thread.join(10)
        with self._lock:
            return "".join(self._kept or ())


@contextmanager
def _ending_with_us(pid: int) -> Iterator[None]:
    """End a process when this one is gone.

    After a SIGKILL nobody here can clean up. A small shell waits on a pipe that only this process holds open: a line
    means that all is well, the end of the pipe that the process was killed.
    """
    watch = ["sh", "-c", 'read line || kill "$0"', str(pid)]
    with subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True, text=True) as watcher:
        try:
            yield
        finally:
            watcher.communicate("well\n")
