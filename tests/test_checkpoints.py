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


def test_slow_saves_are_so_rare_that_they_take_less_than_one_percent_of_the_time(tmp_path, monkeypatch) -> None:
    now = iter([0.0, 100.0, 103.0, 403.0, 532.0])  # creation, a save from 100 to 103 s, two checks
    monkeypatch.setattr("gan.training.checkpoints.time.monotonic", lambda: next(now))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, ARRAYS)
    assert not checkpoints.due()
    assert checkpoints.due()
