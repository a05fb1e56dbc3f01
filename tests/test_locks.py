"""Locks between processes: freed by the kernel, whatever became of their holder."""

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from conftest import PROJECT

from gan.storage.locks import exclusive_lock, in_use, is_held, keeping_others_out, shared_root_lock


def holder(code: str, path: Path) -> subprocess.Popen[str]:
    """A process that holds what the code takes; it has it when this returns."""
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


def test_the_lock_of_a_killed_process_is_free_and_its_file_is_taken_over(tmp_path) -> None:
    path, waits = tmp_path / "scratch" / "x.lock", []
    process = holder("exclusive_lock(Path(sys.argv[1]), lambda _: None)", path)
    assert is_held(path)
    kill(process)
    assert path.exists()
    assert not is_held(path)
    with exclusive_lock(path, waits.append):
        assert is_held(path)
    assert not path.exists()
    assert not waits


def test_the_second_waits_with_one_word_until_the_first_is_done(tmp_path) -> None:
    path, told, inside, who = tmp_path / "x.lock", threading.Event(), [], []

    def note(holder: str) -> None:
        who.append(holder)
        told.set()

    def second() -> None:
        with exclusive_lock(path, note):
            inside.append("second")

    with exclusive_lock(path, lambda _: inside.append("nobody was there")):
        thread = threading.Thread(target=second)
        thread.start()
        assert told.wait(30)
        assert inside == []
    thread.join(30)
    assert inside == ["second"]
    assert who == [f"process {os.getpid()} on {platform.node()}"]
    assert not path.exists()


def test_many_take_turns_though_each_removes_the_file(tmp_path) -> None:
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


def test_a_run_is_seen_from_its_start_to_its_end_and_a_killed_one_is_forgotten(tmp_path) -> None:
    with keeping_others_out(tmp_path) as (now, since):
        assert since == now
    process = holder("in_use(Path(sys.argv[1]))", tmp_path)
    (mark,) = tmp_path.glob(".in-use/run-*")
    os.utime(mark, (1000, 1000))
    with keeping_others_out(tmp_path) as (_, since):
        assert since == 1000
    kill(process)
    with keeping_others_out(tmp_path) as (now, since):
        assert since == now
    assert not list(tmp_path.glob(".in-use/run-*"))
    with in_use(tmp_path):
        assert len(list(tmp_path.glob(".in-use/run-*"))) == 1
    assert not list(tmp_path.glob(".in-use/run-*"))


def test_who_removes_waits_for_who_files_and_the_other_way_round(tmp_path) -> None:
    order: list[str] = []

    def remove() -> None:
        with keeping_others_out(tmp_path):
            order.append("removed")

    with shared_root_lock(tmp_path), shared_root_lock(tmp_path):
        thread = threading.Thread(target=remove)
        thread.start()
        time.sleep(0.2)
        order.append("filed")
    thread.join(30)
    assert order == ["filed", "removed"]
