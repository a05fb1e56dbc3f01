"""Real runs of the command that stop at a chosen moment, for a drill to do something to them; and what they leave.

The process is patched, not the project's files: the keys of results stay those of ordinary runs. It stops itself
(SIGSTOP) in the middle of a stage; all that happens then comes from outside: SIGKILL, a full disk, another time.
"""

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pipeline import Checkout

from gan.storage.files import sha256_of

TIMED = {"report.html", "report.md", "metrics.json"}
"""Published files that tell how long something took: the only ones in which two equal runs differ."""

STOPPING = """
import flows
import os, pathlib, runpy, signal, sys
from contextlib import contextmanager
import gan.training.checkpoints, gan.runs.publish, gan.storage.store
from prefect.context import TaskRunContext
from prefect.results import ResultStore

moments = sys.argv[1].split(",")  # such as "train file": in the stage train, when half of its first file is written
sys.argv = sys.argv[2:]

def reached(what):
    context = TaskRunContext.get()
    return bool(moments and context and moments[0] == f"{context.task.name} {what}")

def stop():
    del moments[0]
    os.kill(os.getpid(), signal.SIGSTOP)

def stopping_before(function, what):
    def stopping(*args, **kwargs):
        if reached(what):
            stop()
        return function(*args, **kwargs)
    return stopping

def put_file(store, write, suffix):
    def half(path):
        write(path)
        if reached("file"):
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2])
            stop()
            path.write_bytes(content)
    return whole_put_file(store, half, suffix)

@contextmanager
def checkpoint_path(target):
    with whole_atomic_path(target) as partial:
        if reached("checkpoint") and list(target.parent.glob("*.npz")):  # the second one
            partial.write_bytes(bytes(1000))
            stop()
        yield partial

def rename(path, target):
    if path.name.endswith(".partial") and path.parent.name == "runs" and reached("swap"):
        stop()  # the earlier run is out of the way, the new one not there yet
    return whole_rename(path, target)

whole_rename, pathlib.Path.rename = pathlib.Path.rename, rename
whole_put_file, gan.storage.store.Store.put_file = gan.storage.store.Store.put_file, put_file
whole_atomic_path, gan.training.checkpoints.atomic_path = gan.training.checkpoints.atomic_path, checkpoint_path
gan.runs.publish.write_manifest = stopping_before(gan.runs.publish.write_manifest, "manifest")
gan.runs.publish.published_files = stopping_before(gan.runs.publish.published_files, "folder")
ResultStore._persist_result_record = stopping_before(ResultStore._persist_result_record, "record")
ResultStore._apersist_result_record = stopping_before(ResultStore._apersist_result_record, "record")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Run:
    """A process of the command, with everything that it starts."""

    def __init__(self, checkout: Checkout, *arguments: object) -> None:
        """Start it.

        Args:
            checkout: The project.
            arguments: Of Python.
        """
        self._mark = f"DRILL={uuid.uuid4()}"
        name, value = self._mark.split("=")
        marked = replace(checkout, env={**checkout.env, name: value})
        self.process: subprocess.Popen[str] = marked.start(*arguments)

    def wait_for_stop(self) -> None:
        """Wait until the process has stopped itself."""
        found = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if found is None or found.si_code != os.CLD_STOPPED:
            raise AssertionError(f"it ended before its moment:\n{self.process.communicate()[0]}")

    def go_on(self) -> None:
        """Let a stopped process go on."""
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)  # so that the next wait is for the next stop
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> str:
        """SIGKILL to the process alone: what it started must see for itself. What they all have printed."""
        self.process.kill()
        return self.process.communicate(timeout=60)[0]

    def end(self) -> tuple[int, str]:
        """Exit code, and what it printed."""
        output, _ = self.process.communicate(timeout=600)
        return self.process.returncode, output

    def alive(self) -> dict[int, str]:
        """The processes of this run that are there now, by id: whatever was started by it inherits its mark."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue  # gone, or not ours
        return found

    def assert_nothing_is_left(self, seconds: float = 30) -> None:
        """No process of the run outlives it."""
        deadline = time.monotonic() + seconds
        while (left := self.alive()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left


@contextmanager
def started(checkout: Checkout, *arguments: object) -> Iterator[Run]:
    """A run that is over at the end of the block, whatever happens."""
    run = Run(checkout, *arguments)
    with run.process:
        try:
            yield run
        finally:
            run.process.kill()


@contextmanager
def stopped(checkout: Checkout, moments: str, command: tuple[object, ...]) -> Iterator[Run]:
    """A run that has stopped at the first of some moments, such as "train file,publish manifest"."""
    with started(checkout, "-c", STOPPING, moments, *command) as run:
        run.wait_for_stop()
        yield run


def same_bytes(folder: Path, run_name: str | None = None) -> dict[str, str]:
    """SHA-256 of every file that the manifest of a run, else the latest one, lists, but for those that hold times."""
    run = folder / "runs" / run_name if run_name else folder / "latest"
    listed = {file["path"]: file["sha256"] for file in json.loads((run / "manifest.json").read_text())["files"]}
    assert {name: sha256_of(run / name) for name in listed} == listed
    assert listed.keys() >= TIMED
    return {name: sha256 for name, sha256 in listed.items() if name not in TIMED}


def assert_nothing_is_half_written(folder: Path) -> None:
    """Every stored file is what its name says, and none is in the making."""
    for path in folder.glob("store/??/*"):
        assert path.name.startswith(sha256_of(path)), path
    assert [path.name for path in folder.rglob(".*.partial")] == [], "no run, no checkpoint"
    assert not list(folder.glob("store/.partial/*"))
    assert not list(folder.glob(".in-use/run-*"))


def command(data: Path, folder: Path) -> tuple[object, ...]:
    """The command that the drills on one machine disturb: own data, a short training, the output folder given."""
    few = ("--steps", 100, "--sample-every", 50, "--batch-size", 16, "--num-samples", 100, "--device", "cpu")
    where = ("--dataset", "own", "--data-dir", data, "--output-dir", folder)
    return ("flows/train_flow.py", *few, *where, "--run-name", "same")


def assert_the_next_run_ends_well(checkout: Checkout, data: Path, folder: Path, uninterrupted: dict[str, str]) -> str:
    """The same command again; what it printed."""
    with started(checkout, *command(data, folder)) as run:
        code, output = run.end()
        assert code == 0, output
        run.assert_nothing_is_left()
    assert same_bytes(folder) == uninterrupted
    assert not list(folder.glob("scratch/*"))
    return output
