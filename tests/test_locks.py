"""Locks between processes; the kernel frees them when their holder ends for any reason."""

import errno
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import pytest
from pipeline import PROJECT

from gan.errors import StoreError
from gan.storage import locks
from gan.storage.locks import (
    exclusive_lock,
    exclusive_root_lock_for_removal,
    is_locked,
    mark_in_use,
    shared_root_lock,
    try_exclusive_lock,
)
from gan.storage.store import Store


def holder(code: str, path: Path) -> subprocess.Popen[str]:
    """Start a process that enters the context manager `code`, and wait until it has done so."""
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom gan.storage.locks import *\n"
        f"with {code}:\n  print(1, flush=True)\n  time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "1\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    with process:
        process.send_signal(signal.SIGKILL)


def test_the_lock_of_a_killed_process_is_free_and_its_file_is_reused(tmp_path) -> None:
    path = tmp_path / "scratch" / "x.lock"
    waits: list[str] = []
    process = holder("exclusive_lock(Path(sys.argv[1]), lambda _: None)", path)
    assert is_locked(path)
    kill(process)
    assert path.exists()
    assert not is_locked(path)
    with exclusive_lock(path, waits.append):
        assert is_locked(path)
    assert not path.exists()
    assert not waits


def test_a_second_holder_reports_once_that_it_waits_for_the_first(tmp_path) -> None:
    path, waits, inside, who = tmp_path / "x.lock", threading.Event(), [], []

    def note(holder: str) -> None:
        who.append(holder)
        waits.set()

    def second() -> None:
        with exclusive_lock(path, note):
            inside.append("second")

    with exclusive_lock(path, lambda _: inside.append("nobody was there")):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(30)
        assert inside == []
    thread.join(30)
    assert inside == ["second"]
    assert who == [f"process {os.getpid()} on {platform.node()}"]
    assert not path.exists()


def test_only_one_of_many_threads_holds_a_lock_although_each_removes_the_file(tmp_path) -> None:
    path, running, most = tmp_path / "x.lock", [], []

    def work() -> None:
        for _ in range(20):
            with exclusive_lock(path, lambda _: None):
                running.append(1)
                most.append(len(running))
                running.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(most) == 120
    assert set(most) == {1}


@pytest.mark.parametrize(("lock", "call"), [(exclusive_lock, 1), (try_exclusive_lock, 2)])
def test_a_lock_on_a_file_that_is_not_there_any_more_does_not_count(tmp_path, monkeypatch, lock, call) -> None:
    """Its holder removes the file at the end, so another process may have locked a new one."""
    path, acquire, calls = tmp_path / "x.lock", locks._acquire, []
    path.touch()

    def acquire_late(file: IO[bytes], operation: int) -> bool:
        taken = acquire(file, operation)
        calls.append(taken)
        if len(calls) == call:
            path.unlink()
            path.touch()
        return taken

    monkeypatch.setattr(locks, "_acquire", acquire_late)
    with lock(path) as is_free:
        assert is_free is False or is_locked(path)


def test_the_earliest_of_several_runs_in_progress_counts(tmp_path) -> None:
    with mark_in_use(tmp_path), mark_in_use(tmp_path):
        for mark, time_of in zip(tmp_path.glob(".in-use/run-*"), (2000, 1000), strict=True):
            os.utime(mark, (time_of, time_of))
        with exclusive_root_lock_for_removal(tmp_path) as (_, since):
            assert since == 1000


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EPERM, errno.EIO, errno.ENOTSUP])
def test_where_flock_fails_all_goes_on_as_without_locks(tmp_path, monkeypatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    waits: list[str] = []
    with mark_in_use(tmp_path), shared_root_lock(tmp_path), exclusive_lock(tmp_path / "x.lock", waits.append):
        assert not is_locked(tmp_path / "x.lock")
        with (
            try_exclusive_lock(tmp_path / "y.lock") as is_free,
            exclusive_root_lock_for_removal(tmp_path) as (_, since),
        ):
            assert is_free
            assert since is None
    assert not waits


@pytest.mark.parametrize("fault", ["moment is a folder", "in-use is a file"])
def test_a_lock_that_cannot_be_opened_is_one_clear_error(tmp_path, fault: str) -> None:
    if fault == "moment is a folder":
        (tmp_path / ".in-use" / "moment").mkdir(parents=True)
    else:
        (tmp_path / ".in-use").touch()
    with pytest.raises(StoreError, match=r"(?s)moment, which all users .* cannot be opened: .*another user"):
        Store.open(tmp_path)


def test_a_run_counts_as_in_progress_until_it_ends_or_is_killed(tmp_path) -> None:
    with exclusive_root_lock_for_removal(tmp_path) as (_, since):
        assert since is None
    process = holder("mark_in_use(Path(sys.argv[1]))", tmp_path)
    (mark,) = tmp_path.glob(".in-use/run-*")
    os.utime(mark, (1000, 1000))
    with exclusive_root_lock_for_removal(tmp_path) as (_, since):
        assert since == 1000
    kill(process)
    with exclusive_root_lock_for_removal(tmp_path) as (_, since):
        assert since is None
    assert not list(tmp_path.glob(".in-use/run-*"))
    with mark_in_use(tmp_path):
        assert len(list(tmp_path.glob(".in-use/run-*"))) == 1
    assert not list(tmp_path.glob(".in-use/run-*"))


def test_removal_waits_for_the_shared_lock(tmp_path) -> None:
    order: list[str] = []

    def remove() -> None:
        with exclusive_root_lock_for_removal(tmp_path):
            order.append("removed")

    with shared_root_lock(tmp_path), shared_root_lock(tmp_path):
        thread = threading.Thread(target=remove)
        thread.start()
        time.sleep(0.2)
        order.append("filed")
    thread.join(30)
    assert order == ["filed", "removed"]
