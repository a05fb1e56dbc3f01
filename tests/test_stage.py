"""The decorator that every stage wears, on stages of a few bytes and a real Prefect server."""

import base64
import json
import os
import pickle
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prefect import flow
from prefect.states import State
from prefect.task_engine import TaskRunTimeoutError

from gan.errors import DataError, SourceError, StoreError
from gan.storage.locks import exclusive_lock, lock_path
from gan.storage.store import FileRef, Store
from tasks.failures import is_worth_retrying
from tasks.records import StageRecord
from tasks.stage import Stage, StagePolicy, refreshing, stage

pytestmark = pytest.mark.usefixtures("prefect_server", "known_code")


class Note(StageRecord):
    file: FileRef


def counted(body: Callable[[int], object] = lambda run: None) -> tuple[Stage, list[int]]:
    runs: list[int] = []

    @stage(run_name="write {text}", timeout_seconds=60, incidental=("device",))
    def write(store: Store, text: str, device: str = "cpu") -> Note:
        runs.append(len(runs))
        body(len(runs))
        return Note(file=store.put_bytes(text.encode(), ".txt"), facts={"run": len(runs)})

    write.task.retry_delay_seconds = [0, 0]
    return write, runs


def run(write: Stage, *args, **kwargs) -> Note:
    return flow(lambda: write(*args, **kwargs), name="test")()


def test_equal_inputs_are_cached_and_others_are_not(store) -> None:
    write, runs = counted()
    first = run(write, store, "a")
    assert run(write, store, "a") == first
    run(write, store, "b")
    assert runs == [0, 1]


def test_what_is_incidental_does_not_decide(store) -> None:
    write, runs = counted()
    run(write, store, "a", device="cpu")
    run(write, store, "a", device="gpu")
    assert runs == [0]


def test_circumstances_of_a_result_do_not_decide_either(store) -> None:
    one = Note(file=store.put_bytes(b"x", ".txt"), seconds=1, facts={"device": "CPU"})
    other = one.model_copy(update={"seconds": 2, "facts": {}})
    assert one.identity() == other.identity()
    assert list(one.files()) == [one.file]


class Group(StageRecord):
    note: Note
    others: tuple[Note, ...] = ()


def test_circumstances_of_nested_results_do_not_decide_and_their_files_are_found(store) -> None:
    one = Note(file=store.put_bytes(b"x", ".txt"), seconds=1, facts={"device": "CPU"})
    same, other = one.model_copy(update={"seconds": 2, "facts": {}}), Note(file=store.put_bytes(b"y", ".txt"))
    policy = StagePolicy()

    def key(note: Note, *others: Note) -> str:
        return policy.key(counted()[0].task, {"records": Group(note=note, others=others)})

    assert key(one, one) == key(same, same)
    assert len({key(one), key(other), key(one, one), key(one, other)}) == 4
    assert list(Group(note=one, others=(other,)).files()) == [one.file, other.file]


def test_new_code_and_new_libraries_are_new_keys(store, monkeypatch) -> None:
    write, runs = counted()
    run(write, store, "a")
    monkeypatch.setattr("tasks.stage.reached_code", lambda module: "edited")
    run(write, store, "a")
    monkeypatch.setattr("tasks.stage.reached_libraries", lambda module: {"numpy": "3"})
    run(write, store, "a")
    assert runs == [0, 1, 2]


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"b")])
def test_a_result_whose_file_is_gone_or_altered_is_made_anew(store, damage) -> None:
    write, runs = counted()
    note = run(write, store, "a")
    damage(store.root / note.file.key)
    run(write, store, "a")
    assert runs == [0, 1]
    assert store.is_intact(note.file)
    run(write, store, "a")
    assert runs == [0, 1]


def test_a_damaged_result_record_is_made_anew(store) -> None:
    write, runs = counted()
    run(write, store, "a")
    for record in store.results_dir.iterdir():
        record.write_bytes(record.read_bytes()[:40])
    run(write, store, "a")
    assert runs == [0, 1]


@pytest.mark.parametrize("planted", ["serializer", "class", "inside"])
def test_a_record_that_names_pickle_or_another_class_is_none(store, tmp_path, planted) -> None:
    write, runs = counted()
    run(write, store, "a")
    (path,) = store.results_dir.iterdir()
    record = json.loads(path.read_text())
    result = json.loads(record["result"])
    if planted == "serializer":
        record["metadata"]["serializer"] = {"type": "pickle"}
        bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
        record["result"] = base64.b64encode(bomb).decode()
    else:
        call = {"__class__": "pathlib.Path", "data": "x"}
        result = {**result, **call} if planted == "class" else {**result, "data": {**result["data"], "facts": call}}
        record["result"] = json.dumps(result)
    path.write_text(json.dumps(record))
    assert write.recorded(store, "a") is None
    run(write, store, "a")
    assert runs == [0, 1]
    assert not (tmp_path / "exploded").exists()


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_refreshing_runs_a_cached_stage_again(store) -> None:
    write, runs = counted()
    run(write, store, "a")

    @flow
    def again() -> None:
        with refreshing(True):
            write(store, "a")

    again()
    assert runs == [0, 1]


def test_what_can_heal_is_retried(store) -> None:
    def fail_once(run: int) -> None:
        if run == 1:
            raise ConnectionResetError

    write, runs = counted(fail_once)
    run(write, store, "a")
    assert len(runs) == 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("900 requested and 12 written")])
def test_a_full_disk_is_one_clear_error_and_no_retry(store, error) -> None:
    def fill_the_disk(_path) -> None:
        raise error

    def fail(run: int) -> None:
        store.put_file(fill_the_disk, ".npy")

    write, runs = counted(fail)
    with pytest.raises(StoreError, match=r"The stage write could not write below .*\n.*run the same command again"):
        run(write, store, "a")
    assert len(runs) == 1


def test_a_result_that_cannot_be_recorded_is_an_error_and_its_checkpoints_stay(store, monkeypatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    write, runs = counted(lambda run: write.scratch_dir(store, "a").mkdir(parents=True, exist_ok=True))
    with monkeypatch.context() as patched:
        patched.setattr("prefect.filesystems.LocalFileSystem.write_path", refuse)
        with pytest.raises(StoreError, match=r"No space left on device.*\n.*run the same command again"):
            run(write, store, "a")
    assert write.scratch_dir(store, "a").exists()
    run(write, store, "a")
    assert runs == [0, 1]
    assert not write.scratch_dir(store, "a").exists()


def test_what_cannot_heal_fails_at_once(store) -> None:
    def fail(run: int) -> None:
        raise DataError("wrong for good")

    write, runs = counted(fail)
    with pytest.raises(DataError, match="wrong for good"):
        run(write, store, "a")
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("error", "heals"),
    [
        (ConnectionError(), True),
        (TaskRunTimeoutError(), False),
        (TimeoutError(), True),
        (OSError(5, "Input/output error"), True),
        (OSError(28, "No space left on device"), False),
        (FileNotFoundError(2, "No such file"), False),
        (SourceError("no network", transient=True), True),
        (SourceError("404", transient=False), False),
        (StoreError("no network", transient=True), True),
        (StoreError("altered"), False),
        (ValueError("NaN"), False),
    ],
)
def test_only_what_can_heal_is_worth_a_retry(error, heals) -> None:
    assert is_worth_retrying(None, None, State(type="FAILED", data=error)) is heals


def test_scratch_outlives_a_failure_and_goes_with_the_result(store) -> None:
    def fail_first(run: int) -> None:
        scratch = write.scratch_dir(store, "a")
        scratch.mkdir(parents=True, exist_ok=True)
        (scratch / "half").touch()
        if run == 1:
            raise DataError("killed")

    write, _ = counted(fail_first)
    with pytest.raises(DataError):
        run(write, store, "a")
    assert (write.scratch_dir(store, "a") / "half").exists()
    run(write, store, "a")
    assert not write.scratch_dir(store, "a").exists()


def test_a_stage_waits_for_an_equal_one_unless_the_work_is_left_to_that(store) -> None:
    write, runs = counted()
    told = threading.Event()
    with exclusive_lock(lock_path(write.scratch_dir(store, "a")), lambda _: told.set()):
        run(replace(write, waits=False), store, "a")
        assert runs == [0]
        waiting = threading.Thread(target=lambda: run(write, store, "b") and run(write, store, "a"))
        waiting.start()
        waiting.join(2)
        assert waiting.is_alive()
        assert runs == [0, 1], "another one is not waited for"
    waiting.join(60)
    assert runs == [0, 1], "its result was there by then"
    assert not list(store.root.glob("scratch/*"))


def test_taking_a_whole_result_marks_it_as_used_now(store) -> None:
    write, _ = counted()
    run(write, store, "a")
    (record,) = store.results_dir.iterdir()
    os.utime(record, (1000, 1000))
    run(write, store, "a")
    assert record.stat().st_mtime > 1000
