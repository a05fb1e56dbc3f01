"""The output of a failed command in a terminal."""

import io
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx
import pytest
from builders import write_own_data
from faults import started
from narrowing import not_none
from pipeline import PROJECT, Checkout, wait_until
from prefect import flow, task
from prefect.task_engine import TaskRunTimeoutError

from flows.server.embedded import _Output
from flows.server.session import prefect_session
from gan.data.catalog import FASHION_MNIST
from gan.errors import DataError, FashionGanError, SourceError
from gan.storage.store import Store
from gan.system.interrupts import raise_lost_ctrl_c, remember_ctrl_c
from tasks.fetch import fetch

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that lists the lines that the log has written to the terminal."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    monkeypatch.setattr(logging.getLogger("prefect"), "propagate", True)
    return lambda: stream.getvalue().splitlines()


def test_a_command_killed_while_its_server_starts_leaves_no_process_behind(tmp_path) -> None:
    checkout = Checkout.make(tmp_path / "project", tmp_path / "prefect")
    with started(checkout, "flows/train_flow.py", "--smoke", "--output-dir", tmp_path / "artifacts") as run:
        wait_until(lambda: any("uvicorn" in command for command in run.alive().values()))
        run.kill()
        run.assert_nothing_is_left()


def test_what_an_embedded_server_says_while_it_shuts_down_is_not_shown(capsys) -> None:
    reading, writing = os.pipe()
    output = _Output(os.fdopen(reading, encoding="utf-8"))
    with os.fdopen(writing, "w", encoding="utf-8") as server:
        print("at the start", file=server, flush=True)
        wait_until(lambda: output._held)
        output.show()
        print("while it runs", file=server, flush=True)
        shown = ""
        while "while it runs" not in shown:
            shown += capsys.readouterr().err
        output.drop()
        print("Traceback", file=server, flush=True)
    output.read()
    assert shown == "at the start\nwhile it runs\n"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "how",
    [pytest.param("damaged", marks=pytest.mark.drill), "a folder", pytest.param("locked", marks=pytest.mark.drill)],
)
def test_an_embedded_server_that_cannot_start_is_one_clear_error(tmp_path, how: str) -> None:
    checkout = Checkout.make(tmp_path / "project", tmp_path / "prefect")
    database = tmp_path / "prefect" / "prefect.db"
    database.parent.mkdir()
    with ExitStack() as stack:
        if how == "damaged":
            database.write_bytes(bytes(range(256)) * 100)
        elif how == "a folder":
            database.mkdir()
        else:
            connection = stack.enter_context(closing(sqlite3.connect(database, isolation_level=None)))
            connection.execute("BEGIN EXCLUSIVE")
            checkout.env["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "15"
        data = write_own_data(tmp_path / "own")
        options = ("--smoke", "--dataset", "own", "--data-dir", data, "--output-dir", tmp_path / "artifacts")
        run = stack.enter_context(started(checkout, "flows/train_flow.py", *options))
        began = time.monotonic()
        code, output = run.end()
    assert code == 1, output
    assert "Error: The embedded Prefect server does not start: " in output
    assert f"Its database is {database}" in output
    assert "Traceback" not in output
    assert time.monotonic() - began < 60, "it has 120 s to start"
    run.assert_nothing_is_left()


def failing(*errors: Exception):
    left = list(errors)

    @task(name="work", task_run_name="work", retries=1, retry_condition_fn=lambda task, run, state: bool(left))
    def work() -> None:
        raise left.pop(0)

    return flow(name="test")(lambda: work())


def test_a_failure_is_one_line_for_the_task_and_one_for_the_flow(terminal) -> None:
    with prefect_session(), pytest.raises(DataError):
        failing(DataError("What happened.\nWhat to do."))()
    failed = [line for line in terminal() if "What happened" in line or "Failed" in line or "DataError" in line]
    assert failed == ["Failed (DataError)"] * 2
    assert not any("Traceback" in line for line in terminal())


def test_a_retry_is_one_line_with_the_reason(terminal) -> None:
    with prefect_session(), pytest.raises(DataError):
        failing(SourceError("No network.\nConnect.", transient=True), DataError("Wrong."))()
    (retry,) = [line for line in terminal() if "No network" in line]
    assert retry == "Task run failed with exception: SourceError: No network. - Retry 1/1 will start immediately"
    assert not any("Traceback" in line for line in terminal())


def test_a_ctrl_c_that_python_drops_stops_the_run_at_its_next_stage(tmp_path) -> None:
    with remember_ctrl_c():
        with suppress(KeyboardInterrupt):  # as if raised in the garbage collector
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            fetch(Store(tmp_path), FASHION_MNIST, None)
    with remember_ctrl_c():
        raise_lost_ctrl_c()  # the next command is not concerned


def test_an_unexpected_error_keeps_its_traceback(terminal) -> None:
    with prefect_session(), pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError("unexpected"))()
    assert any("Traceback" in line for line in terminal())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.ConnectError("All connection attempts failed"), "was away for too long.*ConnectError: All connection"),
        (TaskRunTimeoutError("Scope timed out after 3600.0 second(s)."), "Scope timed out after 3600.0 second"),
    ],
)
def test_a_lost_server_and_an_exceeded_time_limit_are_one_clear_error(terminal, error, words: str) -> None:
    with pytest.raises(FashionGanError, match=f"(?s){words}.*the same command again"), prefect_session():
        failing(error)()
    assert not any("Traceback" in line for line in terminal())


SERVER_KILLED = """
import flows, os, signal
from prefect import flow
from prefect.server.api.server import SubprocessASGIServer
from flows.server.session import prefect_session

assert os.getpgrp() == os.getpid(), "the signals below must not reach the tests"

@flow
def of_a_killed_server():
    server = SubprocessASGIServer().server_process
    server.kill()
    server.wait()
    {then}

with prefect_session():
    of_a_killed_server()
"""


@pytest.mark.parametrize(
    ("then", "code", "state"),
    [
        ("", 0, "Completed"),
        pytest.param("os.killpg(0, signal.SIGTERM)", -signal.SIGTERM, "Crashed", marks=pytest.mark.drill),
    ],
)
def test_an_embedded_server_that_is_killed_is_started_again(tmp_path, then: str, code: int, state: str) -> None:
    checkout = Checkout.make(tmp_path / "project", tmp_path / "prefect")
    checkout.copy_database()
    with started(checkout, "-c", SERVER_KILLED.format(then=then)) as run:
        ended, output = run.end()
        assert ended == code, output
        assert "The embedded Prefect server has ended (exit code -9): starting it again." in output
        assert f"- {state}" in output
        assert "Traceback" not in output
        run.assert_nothing_is_left()


def test_an_embedded_server_ends_if_the_command_is_killed_after_its_session(tmp_path) -> None:
    checkout = Checkout.make(tmp_path / "project", tmp_path / "prefect")
    checkout.copy_database()
    killed_later = SERVER_KILLED.replace("    of_a_killed_server()", "    pass\nos.kill(os.getpid(), signal.SIGKILL)")
    with started(checkout, "-c", killed_later.format(then="")) as run:
        ended, output = run.end()
        assert ended == -signal.SIGKILL, output
        run.assert_nothing_is_left()


def test_signals_for_all_processes_of_a_command_do_not_reach_its_server(tmp_path) -> None:
    checkout = Checkout.make(tmp_path / "project", tmp_path / "prefect")
    checkout.copy_database()
    command = SERVER_KILLED.replace("server.kill()\n    server.wait()", "os.killpg(0, signal.SIGTERM)").format(then="")
    with started(checkout, "-c", command) as run:
        ended, output = run.end()
    assert ended == -signal.SIGTERM, output
    assert "starting it again" not in output
    assert "- Crashed" in output


def test_a_server_that_ignores_sigterm_ends_with_a_killed_command() -> None:
    command = (
        "import subprocess, sys, time; import flows; from flows.server import embedded\n"
        "embedded.END_WHEN_THE_PIPE_ENDS = embedded.END_WHEN_THE_PIPE_ENDS.replace('sleep 1', 'sleep 0.1')\n"
        "stubborn = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); "
        "time.sleep(300)'\n"
        "server = subprocess.Popen([sys.executable, '-c', stubborn], stdout=subprocess.PIPE)\n"
        "server.stdout.readline()\n"
        "with embedded._ended_with_this_process(server.pid):\n"
        "    print(server.pid, flush=True)\n"
        "    time.sleep(300)\n"
    )
    with subprocess.Popen([sys.executable, "-c", command], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        server = int(not_none(process.stdout).readline())
        process.kill()
    deadline = time.monotonic() + 30
    while is_running(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(server)


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie (Linux)."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
