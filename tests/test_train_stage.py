"""The training stage on tiny data with a real Prefect server."""

import logging
import os
import threading

import pytest
from builders import put_data, put_extractor
from narrowing import not_none
from pipeline import ALL_CORES
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

import tasks.callbacks
import tasks.live_artifact
from gan.config import ExecutionConfig
from gan.models.backend import Hardware
from gan.storage.store import Store
from gan.training.checkpoints import Checkpoints
from tasks.records import NormalizedData
from tasks.train import train

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def data(store, tiny_images) -> NormalizedData:
    return put_data(store, tiny_images)


def versions_of(key: str) -> list[str]:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return [str(artifact.data) for artifact in sorted(found, key=lambda artifact: not_none(artifact.created))]


def test_a_retry_resumes_and_every_snapshot_is_shown_during_training(
    store, data, tiny_config, tiny_images, tmp_path, monkeypatch
) -> None:
    elsewhere = Store.open(tmp_path / "elsewhere")
    there, execution = put_data(elsewhere, tiny_images), ExecutionConfig(device="cpu")
    uninterrupted = flow(name="test")(
        lambda: train(elsewhere, there, tiny_config, ExecutionConfig(device="cpu"), put_extractor(elsewhere))
    )()
    already_shown = len(versions_of("training-progress"))
    failures = iter([ConnectionResetError])
    show = tasks.callbacks.ProgressBar.on_step

    def fail_once_at_7(self, steps_done, row) -> None:
        show(self, steps_done, row)
        if steps_done == 7 and (failure := next(failures, None)):
            raise failure

    monkeypatch.setattr(tasks.callbacks.ProgressBar, "on_step", fail_once_at_7)
    monkeypatch.setattr(Checkpoints, "due", lambda self: True)
    monkeypatch.setattr(train.task, "retry_delay_seconds", [0, 0])
    trained = flow(name="test")(lambda: train(store, data, tiny_config, execution, put_extractor(store)))()
    assert trained.facts["resumed_at_step"] == 7
    assert trained.identity() == uninterrupted.identity(), "the files have the same bytes"
    shown = versions_of("training-progress")[already_shown:]
    assert len(shown) == 2, "one that grew until the failure, one since the retry"
    assert "after the steps 0" in shown[0]
    assert "after the steps 0, 5, 10, 11:" in shown[1], "including those before the retry"
    for markdown in shown:
        assert "\n\nOn CPU, d_loss " in markdown
        assert "![fixed latents, a row for each snapshot shown](data:image/png;base64," in markdown
        assert "![Fréchet distance and recall so far](data:image/png;base64," in markdown
        assert len(markdown) < 300_000
    assert not list(store.root.glob("scratch/*"))


def test_training_continues_if_the_server_does_not_accept_a_picture(store, data, tiny_config, monkeypatch) -> None:
    attempts, is_over = [], threading.Event()
    on_step = tasks.callbacks.ProgressBar.on_step

    def watch(self, steps_done, row) -> None:
        on_step(self, steps_done, row)
        if steps_done == tiny_config.steps:
            is_over.set()

    def fail(**_) -> None:
        attempts.append(is_over.wait(timeout=60))
        raise ConnectionError

    monkeypatch.setattr(tasks.callbacks.ProgressBar, "on_step", watch)
    monkeypatch.setattr(tasks.live_artifact, "create_markdown_artifact", fail)
    config = tiny_config.model_copy(update={"seed": 99})
    trained = flow(name="test")(
        lambda: train(store, data, config, ExecutionConfig(device="cpu"), put_extractor(store))
    )()
    assert trained.facts["resumed_at_step"] == 0
    assert len(attempts) <= 2, "an attempt may take minutes: not one for each snapshot that became due meanwhile"


def test_training_does_not_wait_for_the_live_view(store, data, tiny_config, monkeypatch) -> None:
    is_over, events = threading.Event(), []
    on_step = tasks.callbacks.ProgressBar.on_step

    def watch(self, steps_done, row) -> None:
        on_step(self, steps_done, row)
        if steps_done == tiny_config.steps:
            is_over.set()

    def show_late(self, markdown, description) -> None:
        events.append((is_over.wait(timeout=60), markdown))

    monkeypatch.setattr(tasks.callbacks.ProgressBar, "on_step", watch)
    monkeypatch.setattr(tasks.live_artifact.LiveArtifact, "show", show_late)
    config = tiny_config.model_copy(update={"seed": 102})
    flow(name="test")(lambda: train(store, data, config, ExecutionConfig(device="cpu"), put_extractor(store)))()
    assert all(was_over for was_over, _ in events), "the training ended while the first picture was being sent"
    assert len(events) < 4, "snapshots that become due meanwhile are shown together"
    assert "after the steps 0, 5, 10, 11:" in events[-1][1]


def test_tensorboard_is_written_beside_the_runs(store, data, tiny_config, caplog) -> None:
    caplog.set_level(logging.INFO, "tasks")
    config = tiny_config.model_copy(update={"seed": 100})
    flow(name="test")(
        lambda: train(store, data, config, ExecutionConfig(device="cpu", tensorboard=True), put_extractor(store))
    )()
    assert len(list(store.root.glob("tensorboard/train-*/events.out.tfevents.*"))) == 1
    assert f"tensorboard --logdir {store.root / 'tensorboard'}" in caplog.text


def test_checkpoints_of_another_number_of_threads_are_not_continued_and_named(store, data, tiny_config, caplog) -> None:
    caplog.set_level(logging.INFO, "tasks")
    config = tiny_config.model_copy(update={"seed": 101})
    execution, extractor = ExecutionConfig(device="cpu"), put_extractor(store)
    (train.scratch_dir(store, data, config, execution, extractor) / "cpu-99-threads").mkdir(parents=True)
    trained = flow(name="test")(lambda: train(store, data, config, execution, extractor))()
    assert trained.facts["resumed_at_step"] == 0
    assert "An unfinished training on cpu-99-threads is not continued on cpu-" in caplog.text


def test_the_folder_of_checkpoints_names_the_number_of_usable_processors() -> None:
    os.sched_setaffinity(0, ALL_CORES[:1])
    try:
        assert Hardware("CPU", "CPU").folder_name == "cpu-1-threads"
    finally:
        os.sched_setaffinity(0, ALL_CORES)
