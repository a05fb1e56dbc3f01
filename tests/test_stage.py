"""The decorator of every stage, on stages of a few bytes with a real Prefect server."""

import base64
import json
import os
import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar
from unittest.mock import Mock

import numpy as np
import pytest
from builders import Bomb, article_config, put_data
from prefect import flow
from prefect.states import State
from prefect.task_engine import TaskRunTimeoutError

from gan.config import ExecutionConfig, SampleConfig
from gan.errors import DataError, SourceError, StoreError
from gan.recipe import Recipe
from gan.recipes import ARTICLE, CONDITIONAL
from gan.storage.locks import exclusive_lock, lock_path
from gan.storage.store import FileRef, Store
from tasks.failures import is_worth_retrying
from tasks.fit_extractor import fit_extractor
from tasks.records import FittedExtractor, NormalizedData, StageRecord
from tasks.stage import Stage, StagePolicy, refreshing, stage, use_key_conditions
from tasks.train import train
from tasks.two_sample import measure_floor, separate

pytestmark = pytest.mark.usefixtures("prefect_server", "known_code")

R = TypeVar("R")


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


def run(write: Callable[..., R], *args, **kwargs) -> R:
    return flow(name="test")(lambda: write(*args, **kwargs))()


def test_equal_inputs_are_cached_and_others_are_not(store) -> None:
    write, runs = counted()
    first = run(write, store, "a")
    assert run(write, store, "a") == first
    run(write, store, "b")
    assert runs == [0, 1]


def test_incidental_parameters_do_not_change_the_key(store) -> None:
    write, runs = counted()
    run(write, store, "a", device="cpu")
    run(write, store, "a", device="gpu")
    assert runs == [0]


def test_only_the_fields_that_a_stage_reads_change_its_key(store) -> None:
    other = store.put_bytes(b"other", ".npy")
    changes: dict[str, Any] = dict.fromkeys(("train_images", "train_labels", "test_images", "test_labels"), other)
    changes |= {"summary": other, "class_names": ("Bags",), "warnings": ("odd",)}

    def read_by(key_of: Callable[[NormalizedData], str]) -> set[str]:
        data = put_data(store, np.zeros((2, 28, 28, 1), np.float32))
        keys = {name: key_of(data.model_copy(update={name: value})) for name, value in changes.items()}
        return {name for name, key in keys.items() if key != key_of(data)}

    weights, samples = other, SampleConfig()
    execution, extractor = ExecutionConfig(), FittedExtractor(weights=weights)

    def key_of_training(recipe: Recipe) -> Callable[[NormalizedData], str]:
        config = article_config(recipe=recipe)
        return lambda data: train.key(store, data, config, execution, extractor)

    assert read_by(key_of_training(ARTICLE)) == {"train_images"}
    assert read_by(key_of_training(CONDITIONAL)) == {"train_images", "train_labels"}
    assert read_by(lambda data: measure_floor.key(store, data, 100, None, "cpu")) == {"train_images", "test_images"}
    read = {"train_images", "train_labels", "test_images"}
    assert read_by(lambda data: separate.key(store, data, weights, samples, None, "cpu")) == read
    assert read_by(lambda data: fit_extractor.key(store, data, None, "cpu")) == read | {"test_labels"}
    changes = {"class_names": ("Bags", "Coats")}
    assert read_by(lambda data: fit_extractor.key(store, data, None, "cpu")) == {"class_names"}, "there is one more"


def test_seconds_and_facts_of_a_result_do_not_change_its_identity(store) -> None:
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


def test_changed_code_and_changed_libraries_change_the_key(store, monkeypatch) -> None:
    write, runs = counted()
    run(write, store, "a")
    monkeypatch.setattr("tasks.stage.reached_code", lambda module: "edited")
    run(write, store, "a")
    monkeypatch.setattr("tasks.stage.reached_libraries", lambda module: {"numpy": "3"})
    run(write, store, "a")
    assert runs == [0, 1, 2]


def test_the_number_of_processors_changes_the_key_of_stages_with_tensorflow_only(store, monkeypatch) -> None:
    write, runs = counted()
    for libraries in ({"numpy": "2"}, {"tensorflow": "2"}):
        monkeypatch.setattr("tasks.stage.reached_libraries", lambda module, libraries=libraries: libraries)
        for conditions in ("1 CPU", "2 CPUs", "1 CPU"):
            monkeypatch.setattr("tasks.stage.rounding_conditions", lambda conditions=conditions: conditions)
            run(write, store, "a")
    assert runs == [0, 1, 2], "one result without TensorFlow, and two with it"


def test_a_worker_stores_its_result_under_the_key_of_the_waiting_machine(store, monkeypatch) -> None:
    write, runs = counted()
    monkeypatch.setattr("tasks.stage.reached_libraries", lambda module: {"tensorflow": "2"})
    monkeypatch.setattr("tasks.stage.rounding_conditions", lambda: "16 CPUs")
    with use_key_conditions("2 CPUs"):
        run(write, store, "a")
    monkeypatch.setattr("tasks.stage.rounding_conditions", lambda: "2 CPUs")
    assert write.recorded(store, "a") == run(write, store, "a")
    assert runs == [0]


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"b")])
def test_a_result_whose_file_is_missing_or_altered_is_computed_again(store, damage) -> None:
    write, runs = counted()
    note = run(write, store, "a")
    damage(store.root / note.file.key)
    run(write, store, "a")
    assert runs == [0, 1]
    assert store.is_available(note.file)
    run(write, store, "a")
    assert runs == [0, 1]


def test_a_result_with_a_damaged_record_is_computed_again(store) -> None:
    write, runs = counted()
    run(write, store, "a")
    for record in store.results_dir.iterdir():
        record.write_bytes(record.read_bytes()[:40])
    run(write, store, "a")
    assert runs == [0, 1]


@pytest.mark.parametrize("planted", ["serializer", "class", "inside"])
def test_a_record_that_names_pickle_or_another_class_is_ignored(store, tmp_path, planted) -> None:
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


def test_refreshing_runs_a_cached_stage_again(store) -> None:
    write, runs = counted()
    run(write, store, "a")

    @flow
    def again() -> None:
        with refreshing(True):
            write(store, "a")

    again()
    assert runs == [0, 1]


def test_a_transient_failure_is_retried(store) -> None:
    def fail_twice(run: int) -> None:
        if run < 3:
            raise ConnectionResetError

    write, runs = counted(fail_twice)
    run(write, store, "a")
    assert len(runs) == 3
    assert (train.task.retries, train.task.retry_delay_seconds) == (2, [4, 8])


def test_two_stages_of_one_module_do_not_share_results(store) -> None:
    @stage(run_name="upper", timeout_seconds=60)
    def upper(store: Store, text: str) -> Note:
        return Note(file=store.put_bytes(text.upper().encode(), ".txt"))

    @stage(run_name="lower", timeout_seconds=60)
    def lower(store: Store, text: str) -> Note:
        return Note(file=store.put_bytes(text.lower().encode(), ".txt"))

    assert upper.key(store, "a") != lower.key(store, "a")
    assert [store.path(run(one, store, "a").file).read_bytes() for one in (upper, lower)] == [b"A", b"a"]


def test_a_stage_that_takes_too_long_fails(store) -> None:
    @stage(run_name="slow", timeout_seconds=1)
    def slow(store: Store) -> Note:
        for _ in range(300):  # Prefect's exception waits for the end of a call
            time.sleep(0.1)
        return Note(file=store.put_bytes(b"late", ".txt"))

    slow.task.retries = 0
    with pytest.raises(TaskRunTimeoutError):
        run(slow, store)


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


def test_a_result_that_cannot_be_recorded_is_an_error_and_its_checkpoints_are_kept(store, monkeypatch) -> None:
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


def test_a_permanent_failure_is_not_retried(store) -> None:
    def fail(run: int) -> None:
        raise DataError("wrong for good")

    write, runs = counted(fail)
    with pytest.raises(DataError, match="wrong for good"):
        run(write, store, "a")
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("error", "is_transient"),
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
def test_only_transient_failures_are_worth_a_retry(error, is_transient) -> None:
    assert is_worth_retrying(None, Mock(), State(type="FAILED", data=error)) is is_transient


def test_the_scratch_folder_survives_a_failure_and_is_removed_after_success(store) -> None:
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


def test_a_stage_waits_for_an_equal_one_unless_another_process_does_the_work(store) -> None:
    write, runs = counted()
    with exclusive_lock(lock_path(write.scratch_dir(store, "a")), lambda _: None):
        run(replace(write, takes_lock=False), store, "a")
        assert runs == [0]
        waiting = threading.Thread(target=lambda: run(write, store, "b") and run(write, store, "a"))
        waiting.start()
        waiting.join(2)
        assert waiting.is_alive()
        assert runs == [0, 1], "a stage with other arguments does not wait"
    waiting.join(60)
    assert runs == [0, 1], "the result is cached by then"
    assert not list(store.root.glob("scratch/*"))


def test_a_cache_hit_updates_the_time_of_last_use(store) -> None:
    write, _ = counted()
    run(write, store, "a")
    (record,) = store.results_dir.iterdir()
    os.utime(record, (1000, 1000))
    run(write, store, "a")
    assert record.stat().st_mtime > 1000
