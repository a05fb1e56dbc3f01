"""Start real Prefect servers, workers and PostgreSQL, and ask a server."""

import base64
import getpass
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from email.message import Message
from pathlib import Path

import pytest
from pipeline import PROJECT, Checkout, free_port, wait_until

from flows.server.pages import listen

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}  # states of finished runs
GPU_WORKER = ("flows.server.prefect_cli", "worker", "start", "--pool", "gpu", "--type", "process", "--limit", "1")
WORKER = ("flows.server.prefect_cli", "worker", "start", "--pool", "default", "--type", "process")
SET_UP = ("flows/setup_server.py",)
"""Sets up a server as `make setup-server` does."""

LATE_SOON = {f"PREFECT_SERVER_SERVICES_LATE_RUNS_{which}_SECONDS": "1" for which in ("AFTER", "LOOP")}
"""Variables of a server that marks runs as Late as soon as they are."""

LOOPBACK = socket.inet_aton("127.0.0.1")[::-1].hex().upper()
"""The address in the kernel's spelling, as in `addresses_at`."""

WAIT_FOR_SERVER = """
import time
from prefect.client.orchestration import get_client
deadline = time.monotonic() + 300
while True:
    with get_client(sync_client=True) as client:
        if client.api_healthcheck() is None:
            break
    assert time.monotonic() < deadline, "the server does not answer"
    time.sleep(0.5)
"""


def exported_by_make(env: dict[str, str]) -> dict[str, str]:
    """Return the variables that `make server` adds to this environment."""
    with tempfile.TemporaryDirectory() as name:
        python = Path(name, "bin", "python")
        python.parent.mkdir()
        python.write_text("#!/bin/sh\nenv\n")
        python.chmod(0o755)
        command = ["make", "--no-print-directory", "--old-file", f"{name}/.ready", f"VENV={name}", "server"]
        printed = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=True).stdout
    names = re.findall(r"^(?:server: )?export (\w+) ", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    given = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
    return {name: given[name] for name in names}


@contextmanager
def running_server(checkout: Checkout, *setup: object, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a Prefect server for the checkout as `make server` does, and wait until it answers.

    Args:
        checkout: Its commands use the server within the block.
        setup: The command that sets the server up, such as SET_UP; empty to leave the server as it is.
        env: More environment variables of the server and of the checkout.
    """
    port = str(free_port())
    checkout.env |= {"PREFECT_SERVER_API_PORT": port, **env}
    checkout.env |= exported_by_make(checkout.env) | env
    with running(checkout, "flows.server.prefect_cli", "server", "start") as process:
        checkout.env["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        checkout.run("-c", WAIT_FOR_SERVER)
        if setup:
            checkout.run(*setup)
        yield process
    del checkout.env["PREFECT_API_URL"]


@contextmanager
def running(checkout: Checkout, *module: str, before: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Run a module until the end of the block, then interrupt it; its output goes to <name>.log beside the project.

    `before` is a command that executes the module, such as setpriv.
    """
    log = checkout.folder.with_name("-".join(module[:5]) + ".log").open("a")
    command = [*before, sys.executable, "-m", *module]
    with log, checkout.on_cores():
        started = subprocess.Popen(command, cwd=checkout.folder, env=checkout.env, stdout=log, stderr=log)
    with started as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def family(pid: int) -> list[int]:
    """Return the ids of a process and of its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in family(int(child)))]


@contextmanager
def running_postgresql() -> Iterator[str]:
    """Return the address of a temporary PostgreSQL database; skip the test if PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL here (on Debian: apt-get install postgresql)")
    is_root = os.getuid() == 0  # PostgreSQL does not run as root
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if is_root else []
    user = "postgres" if is_root else getpass.getuser()
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:
        folder = Path(name)
        if is_root:
            shutil.chown(folder, user)

        def call(program: str, *arguments: str) -> None:
            command = [*as_user, str(found[-1].with_name(program)), "-D", str(folder / "data"), *arguments]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)

        call("initdb", "--auth=trust", f"--username={user}", "--no-sync")
        call("pg_ctl", "-w", "-l", str(folder / "log"), "-o", f"-k {folder} -c listen_addresses=''", "start")
        try:
            yield f"postgresql+asyncpg://{user}@/postgres?host={folder}"
        finally:
            call("pg_ctl", "-m", "immediate", "stop")


@contextmanager
def served_pages(folder: Path) -> Iterator[str]:
    """Serve the pages of an output folder on a free port until the end of the block; yield the address."""
    server, opened = listen(folder, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([opened],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{opened.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


def addresses_at(port: int) -> set[str]:
    """Return the addresses that this machine listens on at a port, as the kernel lists them."""
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and int(row[1].partition(":")[2], 16) == port}


def csrf_headers(server: Checkout) -> dict[str, str]:
    """Return the headers that pass the server's CSRF check."""
    client = uuid.uuid4().hex
    return {"prefect-csrf-client": client, "prefect-csrf-token": ask(server, f"csrf-token?client={client}")["token"]}


def ask(server: Checkout, path: str, body: dict | None = None):
    """Return the answer of the server's API to a POST of `body`, or to a GET without a body."""
    content = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    if password := server.env.get("PREFECT_API_AUTH_STRING"):
        headers["authorization"] = f"Basic {base64.b64encode(password.encode()).decode()}"
    if content is not None:
        headers |= csrf_headers(server)
    request = urllib.request.Request(f"{server.env['PREFECT_API_URL']}/{path}", content, headers)
    for patience in (1, 2, 4, 0):  # with a busy SQLite the server answers 503; Prefect's client retries as well
        try:
            with urllib.request.urlopen(request) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code != 503 or not patience:
                raise
            time.sleep(patience)


def answer_to(server: Checkout, method: str, path: str, headers: dict[str, str]) -> tuple[int, Message]:
    """Return the status and the headers of the server's answer."""
    content = None if method in ("get", "options") else b"{}"
    url = f"{server.env['PREFECT_API_URL']}{path}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, content, headers, method=method.upper())) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def start_nightly(server: Checkout, due: datetime | None = None, /, **settings: object) -> str:
    """Start a run of the nightly deployment with changed settings, as its Run form does; return its id.

    `due` is the time that it is scheduled for; one in the past makes it late. None for now.
    """
    (nightly,) = ask(server, "deployments/filter", {"deployments": {"name": {"any_": ["nightly"]}}})
    names = [str(name).removeprefix("--").replace("-", "_") for name in server.options[::2]]
    quick = dict(zip(names, server.options[1::2], strict=True))
    usual = nightly["parameters"]["settings"] | {"recipe": "article", "seed": 0}
    body: dict[str, object] = {"parameters": {"settings": usual | quick | settings}}
    if due:
        body["state"] = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
    return ask(server, f"deployments/{nightly['id']}/create_flow_run", body)["id"]


def runs_of(server: Checkout, flow: str) -> list[dict]:
    """Return the runs of a flow, oldest first, without the scheduled runs of the coming days."""
    found = ask(server, "flow_runs/filter", {"flows": {"name": {"any_": [flow]}}})
    return sorted((run for run in found if not run["auto_scheduled"]), key=lambda run: run["created"])


def newest(server: Checkout, flow: str) -> dict:
    """Return the newest run of a flow."""
    return runs_of(server, flow)[-1]


def artifacts_of(server: Checkout, run_id: str, key: str) -> list[dict]:
    """Return the artifacts of a run with this key. A training shows `training-progress` after its first step."""
    return ask(server, "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run_id]}, "key": {"any_": [key]}}})


def wait_until_it_trains(server: Checkout, flow: str, process: subprocess.Popen[str] | None = None) -> str:
    """Wait until the newest run of a flow has trained for a step, and return its id; fail if `process` ends."""
    running: list[dict] = []

    def trains() -> bool:
        assert process is None or process.poll() is None, process.stdout.read()
        running[:] = [run for run in runs_of(server, flow)[-1:] if run["state_type"] == "RUNNING"]
        return any(artifacts_of(server, run["id"], "training-progress") for run in running)

    wait_until(trains)
    return str(running[0]["id"])
