import errno
import logging
import os
import stat
from pathlib import Path

import numpy as np
from narrowing import not_none

from gan.training.checkpoints import NUM_KEPT, Arrays, Checkpoints

ARRAYS: Arrays = {"weights": np.arange(4, dtype=np.float32), "seconds": np.array(1.5)}


def test_the_newest_checkpoint_is_loaded(tmp_path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.load_latest() is None
    for step in (9, 10, 100):
        checkpoints.save(step, ARRAYS | {"step": np.array(step)})
    step, arrays = not_none(checkpoints.load_latest())
    assert step == arrays["step"] == 100
    np.testing.assert_array_equal(arrays["weights"], ARRAYS["weights"])
    assert len(list(tmp_path.iterdir())) == NUM_KEPT


def test_a_truncated_checkpoint_is_skipped_with_a_warning(tmp_path, caplog) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, ARRAYS)
    checkpoints.save(2, ARRAYS)
    newest = max(tmp_path.iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        step, _ = not_none(checkpoints.load_latest())
    assert step == 1
    assert newest.name in caplog.text


def test_a_file_system_that_cannot_sync_a_folder_gets_checkpoints_too(tmp_path, monkeypatch) -> None:
    def refuse_folders(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("os.fsync", refuse_folders)
    num_open = len(list(Path("/proc/self/fd").iterdir()))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, ARRAYS)
    assert not_none(checkpoints.load_latest())[0] == 1
    assert len(list(Path("/proc/self/fd").iterdir())) == num_open


def test_truncated_checkpoints_never_displace_a_new_one(tmp_path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (900, 1000):
        checkpoints.save(step, ARRAYS)
    for path in tmp_path.iterdir():
        path.write_bytes(b"torn")
    assert checkpoints.load_latest() is None
    checkpoints.save(100, ARRAYS)
    step, _ = not_none(checkpoints.load_latest())
    assert step == 100


def test_other_files_in_the_folder_are_left_alone(tmp_path) -> None:
    (tmp_path / "notes.npz").write_bytes(b"not ours")
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.load_latest() is None
    checkpoints.save(1, ARRAYS)
    assert (tmp_path / "notes.npz").exists()


def test_a_save_is_due_after_the_given_time(tmp_path) -> None:
    assert Checkpoints(tmp_path, seconds_between=0).due()
    patient = Checkpoints(tmp_path, seconds_between=1000)
    assert not patient.due()


def saves(folder: Path, monkeypatch, *, cost: float, seconds: float) -> list[float]:
    """Return when a training saves that asks every second, after a first call of 60 s; saving takes `cost` seconds."""
    clock = [60.0]

    def fsync(handle: int) -> None:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            clock[0] += cost

    monkeypatch.setattr("gan.training.checkpoints.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("os.fsync", fsync)
    checkpoints, times = Checkpoints(folder), []
    while clock[0] < seconds:
        if checkpoints.due():
            times.append(clock[0])
            checkpoints.save(1, ARRAYS)
        clock[0] += 1
    return times


def test_saves_begin_ten_seconds_after_the_first_call_and_are_dense_while_a_training_is_young(
    tmp_path, monkeypatch
) -> None:
    """On a GPU a training takes a minute, and saving its large networks half a second."""
    times = saves(tmp_path, monkeypatch, cost=0.4, seconds=160)
    assert times[0] == 70
    assert max(np.diff(times)) <= 22


def test_saves_that_take_seconds_become_rare(tmp_path, monkeypatch) -> None:
    times = saves(tmp_path, monkeypatch, cost=3, seconds=10_000)
    pauses = np.diff(times)
    assert min(pauses) >= 3 / 0.02
    assert pauses[-1] >= 3 / 0.007
    assert 3 * len(times) < 0.01 * 10_000
