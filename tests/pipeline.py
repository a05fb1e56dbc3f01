"""Runs of the real command, in a copy of the project that a test may edit, with a Prefect home of its own."""

import base64
import fcntl
import getpass
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parent.parent
STAGES = ("fetch", "normalize", "train", "render", "compare", "publish")
STAGES_OF_OWN_DATA = ("fetch", "normalize", "fit", "train", "render", "compare", "publish")
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}  # states of runs that are over
QUICK = ("--checkpoint-seconds", 0.2, "--extractor-epochs", 2)
"""Options of a training that saves a checkpoint all the time, and whose feature extractor is fitted in a moment."""

SMALL = tuple(
    option
    for value in ("latent_dim=8", "generator_units=[16,24]", "discriminator_units=[24,16]")
    for option in ("--set", value)
)
"""Options of a training of article or mlp with small networks."""

SMALL_CONV = tuple(
    option
    for value in ("latent_dim=8", "generator_units=[8,6,4]", "discriminator_units=[4,6,8]")
    for option in ("--set", value)
)
"""The same for conv and conditional."""

FINISHED = re.compile(r"Task run '(\w+)[^']*' - Finished in state (\w+)")


@dataclass
class Checkout:
    """A copy of the project's code."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    options: tuple[object, ...] = ()
    """Options that every training and sweep of this checkout has."""

    @classmethod
    def make(cls, folder: Path, prefect_home: Path) -> "Checkout":
        ignored = shutil.ignore_patterns("__pycache__")
        for package in ("flows", "gan", "tasks"):
            shutil.copytree(PROJECT / package, folder / package, ignore=ignored)
        shutil.copy(PROJECT / "prefect.yaml", folder)
        env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return cls(folder, {**env, "PYTHONPATH": str(folder), "PREFECT_HOME": str(prefect_home), "COLUMNS": "200"})

    @classmethod
    def make_quick(cls, folder: Path) -> "Checkout":
        """A copy that saves all the time, fits its extractor in a moment, and uses the tests' own server."""
        from prefect.settings import PREFECT_API_URL

        checkout = cls.make(folder / "project", folder / "prefect")
        checkout.options = QUICK
        checkout.env["PREFECT_API_URL"] = PREFECT_API_URL.value()
        return checkout

    def edit(self, file: str, old: str, new: str) -> None:
        """Change the copy's code."""
        path = self.folder / file
        content = path.read_text()
        assert old in content, f"{old!r} is not in {file}"
        path.write_text(content.replace(old, new))

    @contextmanager
    def started(self, *arguments: object) -> Iterator[subprocess.Popen[str]]:
        """Start Python, and kill it at the end of the block, so that a failing test does not wait for it."""
        with self.start(*arguments) as process:
            try:
                yield process
            finally:
                process.kill()

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start Python with these arguments, in a process group of its own; output goes to one pipe."""
        return subprocess.Popen(
            [sys.executable, *map(str, self.with_options(arguments))],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def start_in_a_terminal(self, *arguments: object) -> tuple[subprocess.Popen[bytes], int]:
        """Start Python as a terminal would; what is written to the given end are key strokes, Ctrl-C among them."""
        ours, theirs = pty.openpty()

        def take_the_terminal() -> None:
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(
            [sys.executable, *map(str, self.with_options(arguments))],
            cwd=self.folder,
            env={**self.env, "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            preexec_fn=take_the_terminal,
        )
        os.close(theirs)
        return process, ours

    def with_options(self, arguments: tuple[object, ...]) -> tuple[object, ...]:
        """Add the checkout's options to a command that trains, unless it shows its help only."""
        return (
            (*arguments, *self.options) if {"flows/train_flow.py", "flows/sweep_flow.py"} & {*arguments} else arguments
        )

    def run(self, *arguments: object) -> str:
        """Run Python with these arguments to a good end, and give what it printed."""
        with self.start(*arguments) as process:
            output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
        return output

    def train(self, *options: object) -> dict[str, str]:
        """Run the main job, and return the final state of each stage."""
        return states(self.run("flows/train_flow.py", *options))


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
    """Return the variables that the Makefile adds to this environment."""
    command = ["make", "--no-print-directory", "--eval", "environment: ; @env", "environment"]
    printed = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=True).stdout
    names = re.findall(r"^export (\w+) ", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    given = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
    return {name: given[name] for name in names}


@contextmanager
def running_server(checkout: Checkout, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Prefect server of the checkout's own, as make server starts one; all that it runs goes there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    checkout.env |= {"PREFECT_SERVER_API_PORT": port, **env}
    checkout.env |= exported_by_make(checkout.env) | env
    with running(checkout, "flows.server.prefect_cli", "server", "start") as process:
        checkout.env["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        checkout.run("-c", WAIT_FOR_SERVER)
        yield process
    del checkout.env["PREFECT_API_URL"]


@contextmanager
def running(checkout: Checkout, *module: str, before: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """A module that goes on until it is ended; what it prints is in <name>.log beside the project.

    `before` is a wrapper that executes the command, such as setpriv.
    """
    log = checkout.folder.with_name("-".join(module[:5]) + ".log").open("a")
    command = [*before, sys.executable, "-m", *module]
    with log, subprocess.Popen(command, cwd=checkout.folder, env=checkout.env, stdout=log, stderr=log) as process:
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


GPU_WORKER = ("flows.server.prefect_cli", "worker", "start", "--pool", "gpu", "--type", "process", "--limit", "1")
WORKER = ("flows.server.prefect_cli", "worker", "start", "--pool", "default", "--type", "process")


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


def csrf_headers(server: Checkout) -> dict[str, str]:
    """Return the headers that pass the server's CSRF check."""
    client = uuid.uuid4().hex
    return {"prefect-csrf-client": client, "prefect-csrf-token": ask(server, f"csrf-token?client={client}")["token"]}


def ask(server: Checkout, path: str, body: dict | None = None):
    """What the server's API answers; without a body it is a GET."""
    content = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    if password := server.env.get("PREFECT_API_AUTH_STRING"):
        headers["authorization"] = f"Basic {base64.b64encode(password.encode()).decode()}"
    if content is not None:
        headers |= csrf_headers(server)
    request = urllib.request.Request(f"{server.env['PREFECT_API_URL']}/{path}", content, headers)
    for patience in (1, 2, 4, 0):  # a busy SQLite answers 503; Prefect's own client asks again as well
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


def start_nightly(server: Checkout, **settings: object) -> str:
    """Start a run of the nightly deployment as its Run form does, with other settings; its id."""
    (nightly,) = ask(server, "deployments/filter", {"deployments": {"name": {"any_": ["nightly"]}}})
    names = [str(name).removeprefix("--").replace("-", "_") for name in server.options[::2]]
    quick = dict(zip(names, server.options[1::2], strict=True))
    parameters = {"settings": nightly["parameters"]["settings"] | quick | settings}
    return ask(server, f"deployments/{nightly['id']}/create_flow_run", {"parameters": parameters})["id"]


def wait_until(
    condition: Callable[[], object], seconds: float = 300, process: "subprocess.Popen[Any] | None" = None
) -> None:
    """Poll until `condition` is true; fail after `seconds`, or if `process` ends."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05 if process else 0.5)


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints of unfinished trainings in an output folder."""
    with suppress(FileNotFoundError):  # one that goes while it is looked at
        return list(folder.glob("scratch/*/*/*.npz"))
    return []


def wait_for_checkpoint(folder: Path, process: "subprocess.Popen[Any] | None" = None) -> None:
    """Wait until a training has a checkpoint."""
    wait_until(lambda: checkpoints_in(folder), process=process)


def runs_of(server: Checkout, flow: str) -> list[dict]:
    """Return the runs of a flow, oldest first, without the scheduled runs of the coming days."""
    found = ask(server, "flow_runs/filter", {"flows": {"name": {"any_": [flow]}}})
    return sorted((run for run in found if not run["auto_scheduled"]), key=lambda run: run["created"])


def newest(server: Checkout, flow: str) -> dict:
    return runs_of(server, flow)[-1]


def states(output: str) -> dict[str, str]:
    """Return the final state of each stage, from the output of the command."""
    found = dict(FINISHED.findall(output))
    assert tuple(found) in (STAGES, STAGES_OF_OWN_DATA), output
    return found


def ran(found: dict[str, str]) -> set[str]:
    """Return the stages that were not cached."""
    return {stage for stage, state in found.items() if state != "Cached"}
