"""Run the real command in a copy of the project that a test may edit, with its own Prefect home."""

import fcntl
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gan.storage.locks import exclusive_lock

PROJECT = Path(__file__).resolve().parent.parent
STAGES = ("fetch", "normalize", "train", "render", "floor", "separate", "compare", "publish")
STAGES_OF_OWN_DATA = ("fetch", "normalize", "fit", "train", "render", "floor", "separate", "compare", "publish")
QUICK = ("--checkpoint-seconds", 0.2, "--extractor-epochs", 2, "--two-sample-epochs", 1)
"""Options of a run that saves checkpoints often, and that trains the networks that judge for one or two epochs only."""

SELDOM = ("--checkpoint-seconds", 3600, *QUICK[2:])
"""The same for a run that saves a checkpoint only when it is stopped."""

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
"""Options of a training of conv or conditional with small networks."""

AS_COMMAND = """
import os, runpy, sys
sys.argv = sys.argv[1:]
sys.path.insert(0, os.getcwd())
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""The end of a program for `python -c` that changes its process, and then runs the command in its arguments."""

ALL_CORES = sorted(os.sched_getaffinity(0))
TEST_PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
TEST_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def on_own_cores() -> Iterator[None]:
    """Start processes on this test process's share of the cores: one of two cores, if two test processes run.

    Otherwise each run would start a thread for every core, and the threads of OpenBLAS and TensorFlow wait for each
    other in busy loops: beside another run, a small eigenvalue problem takes twenty times as long.
    """
    own = ALL_CORES[TEST_PROCESS % len(ALL_CORES) :: TEST_PROCESSES]
    os.sched_setaffinity(0, own)  # of this thread, which the process inherits
    try:
        yield
    finally:
        os.sched_setaffinity(0, ALL_CORES)


FINISHED = re.compile(r"Task run '(\w+)[^']*' - (Cached|Completed|Failed|Crashed)")


@dataclass
class Checkout:
    """A copy of the project's code."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    options: tuple[object, ...] = ()
    """Options that are added to every training and sweep of this checkout."""
    shares_cores: bool = True
    """Whether its processes run `on_own_cores`; otherwise on all cores, as a user's."""

    @classmethod
    def make(cls, folder: Path, prefect_home: Path) -> "Checkout":
        """Copy the code to a new folder; its environment has no settings of Prefect but its home."""
        for package in ("flows", "gan", "tasks"):
            shutil.copytree(PROJECT / package, folder / package)  # with bytecode, which else takes a second to make
        shutil.copy(PROJECT / "prefect.yaml", folder)
        env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return cls(folder, {**env, "PYTHONPATH": str(folder), "PREFECT_HOME": str(prefect_home), "COLUMNS": "200"})

    @classmethod
    def make_quick(cls, folder: Path) -> "Checkout":
        """Copy the code; its runs have the options QUICK and use the server of the test session."""
        from prefect.settings import PREFECT_API_URL

        checkout = cls.make(folder / "project", folder / "prefect")
        checkout.options = QUICK
        checkout.copy_database()
        checkout.env["PREFECT_API_URL"] = PREFECT_API_URL.value()
        return checkout

    def copy_database(self) -> None:
        """Copy an empty Prefect database to the checkout's home: to create one takes ten seconds."""
        home = Path(self.env["PREFECT_HOME"])
        home.mkdir(parents=True)
        shutil.copy(empty_database(self), home / "prefect.db")

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text in a file of the copy."""
        path = self.folder / file
        content = path.read_text()
        assert old in content, f"{old!r} is not in {file}"
        path.write_text(content.replace(old, new))

    @contextmanager
    def started(self, *arguments: object) -> Iterator[subprocess.Popen[str]]:
        """Start Python, and kill it at the end of the block, because a failing test would otherwise wait for it."""
        with self.start(*arguments) as process:
            try:
                yield process
            finally:
                process.kill()

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start Python with these arguments in a new process group; stdout and stderr go to one pipe."""
        with self.on_cores():
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
        """Start Python in a new pseudo-terminal; what is written to the returned descriptor is typed there."""
        ours, theirs = pty.openpty()

        def take_the_terminal() -> None:
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

        with self.on_cores():
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

    def on_cores(self) -> AbstractContextManager[None]:
        """Return the context in which the processes of this checkout are started."""
        return on_own_cores() if self.shares_cores else nullcontext()

    def with_options(self, arguments: tuple[object, ...]) -> tuple[object, ...]:
        """Add the options of the checkout to a command that trains."""
        return (
            (*arguments, *self.options) if {"flows/train_flow.py", "flows/sweep_flow.py"} & {*arguments} else arguments
        )

    def run(self, *arguments: object) -> str:
        """Run Python with these arguments, check that it exits with 0, and return its output."""
        with self.started(*arguments) as process:
            return finish(process)

    def train(self, *options: object) -> dict[str, str]:
        """Run the main job; return the final state of each stage."""
        return states(self.run("flows/train_flow.py", *options))


def empty_database(checkout: Checkout) -> Path:
    """Return a database that all test processes of this session share; create it if there is none."""
    session = next(folder for folder in checkout.folder.parents if folder.name.startswith("pytest-"))
    template = session / "empty-database" / "prefect.db"
    with exclusive_lock(session / "empty-database.lock", on_wait=lambda holder: None):
        if not template.exists():
            partial = replace(checkout, env={**checkout.env, "PREFECT_HOME": str(session / "partial-database")})
            partial.run("-m", "flows.server.prefect_cli", "server", "database", "upgrade", "-y")
            (session / "partial-database").rename(template.parent)
    return template


def wait_until(
    condition: Callable[[], object], seconds: float = 300, process: "subprocess.Popen[Any] | None" = None
) -> None:
    """Poll until `condition` is true; fail after `seconds`, or if `process` ends."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05 if process else 0.5)


def finish(process: subprocess.Popen[str], seconds: float = 600) -> str:
    """Wait for a command, check that it exits with 0, and return its output."""
    output, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, output
    return output


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Read what a process prints, up to the line with these words."""
    lines: list[str] = []
    while not lines or words not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], "".join(lines)
    return "".join(lines)


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints of unfinished trainings in an output folder."""
    with suppress(FileNotFoundError):  # a file may be removed while the folder is listed
        return list(folder.glob("scratch/*/*/*.npz"))
    return []


def wait_for_checkpoint(folder: Path, process: "subprocess.Popen[Any] | None" = None) -> None:
    """Wait until a training has a checkpoint."""
    wait_until(lambda: checkpoints_in(folder), process=process)


def states(output: str) -> dict[str, str]:
    """Return the final state of each stage, from the output of the command."""
    found = dict(FINISHED.findall(output))
    assert tuple(found) in (STAGES, STAGES_OF_OWN_DATA), output
    return found


def ran(found: dict[str, str]) -> set[str]:
    """Return the stages that were not cached."""
    return {stage for stage, state in found.items() if state != "Cached"}
