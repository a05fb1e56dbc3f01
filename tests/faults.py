"""Stop real runs of the command at a chosen moment, so that a drill can cause a fault; check what they leave.

The process is patched and not the project's files, so results have the cache keys of ordinary runs. The process stops
itself with SIGSTOP in the middle of a stage. The drill then causes the fault: SIGKILL, a full disk, another time.
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
"""Published files that contain durations: the only ones in which two equal runs differ."""

STOPPING = """
import flows
import os, pathlib, runpy, shutil, signal, sys
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
        stop()  # the earlier run is moved away, and the new one is not yet in its place
    return whole_rename(path, target)

def rmtree(path, *args, **options):
    folder = pathlib.Path(path)
    if folder.suffix == ".partial" and folder.parent.name == "runs" and reached("folder"):
        stop()  # the new run is in its place, and the earlier one still beside it
    return whole_rmtree(path, *args, **options)

whole_rmtree, shutil.rmtree = shutil.rmtree, rmtree
whole_rename, pathlib.Path.rename = pathlib.Path.rename, rename
whole_put_file, gan.storage.store.Store.put_file = gan.storage.store.Store.put_file, put_file
whole_atomic_path, gan.training.checkpoints.atomic_path = gan.training.checkpoints.atomic_path, checkpoint_path
gan.runs.publish.write_manifest = stopping_before(gan.runs.publish.write_manifest, "manifest")
ResultStore._persist_result_record = stopping_before(ResultStore._persist_result_record, "record")
ResultStore._apersist_result_record = stopping_before(ResultStore._apersist_result_record, "record")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Run:
    """A process of the command and its descendants."""

    def __init__(self, checkout: Checkout, *arguments: object) -> None:
        """Start Python with these arguments, and mark all its descendants by an environment variable."""
        self._mark = f"DRILL={uuid.uuid4()}"
        name, value = self._mark.split("=")
        marked = replace(checkout, env={**checkout.env, name: value})
        self.process: subprocess.Popen[str] = marked.start(*arguments)

    def wait_for_stop(self) -> None:
        """Wait until the process has stopped itself."""
        found = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if found is None or found.si_code != os.CLD_STOPPED:
            raise AssertionError(f"the process ended before the chosen moment:\n{self.process.communicate()[0]}")

    def go_on(self) -> None:
        """Continue a stopped process."""
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)  # consumes this stop: the next wait is for the next one
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> str:
        """Send SIGKILL to the process but not to its descendants; return the output of all of them."""
        self.process.kill()
        return self.process.communicate(timeout=60)[0]

    def end(self) -> tuple[int, str]:
        """Wait until the process ends; return its exit code and its output."""
        output, _ = self.process.communicate(timeout=600)
        return self.process.returncode, output

    def alive(self) -> dict[int, str]:
        """Return the command lines of the run's living processes by id; its descendants inherit its mark."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue  # the process has ended, or belongs to another user
        return found

    def assert_nothing_is_left(self, seconds: float = 30) -> None:
        """Check that no process of the run is alive after a while."""
        deadline = time.monotonic() + seconds
        while (left := self.alive()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left


@contextmanager
def started(checkout: Checkout, *arguments: object) -> Iterator[Run]:
    """Start a run, and kill it at the end of the block."""
    run = Run(checkout, *arguments)
    with run.process:
        try:
            yield run
        finally:
            run.process.kill()


@contextmanager
def stopped(checkout: Checkout, moments: str, command: tuple[object, ...]) -> Iterator[Run]:
    """Start a run, and wait until it stops at the first of some moments, such as "train file,publish manifest"."""
    with started(checkout, "-c", STOPPING, moments, *command) as run:
        run.wait_for_stop()
        yield run


def same_bytes(folder: Path, run_name: str | None = None) -> dict[str, str]:
    """Return the SHA-256 of every listed file of a run, or of the latest run, except files with durations."""
    run = folder / "runs" / run_name if run_name else folder / "latest"
    listed = {file["path"]: file["sha256"] for file in json.loads((run / "manifest.json").read_text())["files"]}
    assert {name: sha256_of(run / name) for name in listed} == listed
    assert listed.keys() >= TIMED
    return {name: sha256 for name, sha256 in listed.items() if name not in TIMED}


def assert_nothing_is_half_written(folder: Path) -> None:
    """Check that every stored file has the digest in its name, and that no temporary file is left."""
    for path in folder.glob("store/??/*"):
        assert path.name.startswith(sha256_of(path)), path
    assert [path.name for path in folder.rglob(".*.partial")] == [], "no run, no checkpoint"
    assert not list(folder.glob("store/.partial/*"))
    assert not list(folder.glob(".in-use/run-*"))


def command(data: Path, folder: Path) -> tuple[object, ...]:
    """Return the command that the drills on one machine disturb: a short training on the user's own data."""
    few = ("--steps", 100, "--sample-every", 50, "--batch-size", 16, "--num-samples", 100, "--device", "cpu")
    where = ("--dataset", "own", "--data-dir", data, "--output-dir", folder)
    return ("flows/train_flow.py", *few, *where, "--run-name", "same")


def assert_the_next_run_ends_well(checkout: Checkout, data: Path, folder: Path, uninterrupted: dict[str, str]) -> str:
    """Run the same command again, check that it publishes the same bytes, and return its output."""
    with started(checkout, *command(data, folder)) as run:
        code, output = run.end()
        assert code == 0, output
        run.assert_nothing_is_left()
    assert same_bytes(folder) == uninterrupted
    assert not list(folder.glob("scratch/*"))
    return output
