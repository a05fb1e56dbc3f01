"""What a run shows where a metric is not defined: files, report, terminal and artifacts say null and why."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from builders import put_data, put_extractor, smooth_pixels
from plain_files import check_csv, check_folder, check_json, check_words

import tasks.artifacts
from flows.summary import print_summary
from gan.compare import _print_comparison as print_comparison
from gan.config import RunConfig, SampleConfig, TrainConfig
from gan.data.pixels import normalize_images
from gan.generate import generate
from gan.judging.bootstrap import Difference
from gan.judging.gate import Decision
from gan.judging.measured import NOT_FINITE
from gan.models.networks import build_generator, save_model
from gan.recipes import ARTICLE
from gan.report.comparison import RunComparison
from gan.report.leaderboard_files import as_csv
from gan.report.page import render_comparison
from gan.report.ranking import rank, read_result
from gan.runs.champion import describe_champion_status
from gan.storage.store import Store
from tasks.artifacts import create_artifacts
from tasks.compare import compare
from tasks.publish import publish
from tasks.records import Opponents, PublishedRun, RawData, Reference, RunRecords, TrainedGan
from tasks.render import render
from tasks.two_sample import measure_floor, separate

N, INF = 100, float("inf")


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> tuple[Store, list[PublishedRun]]:
    """Two runs of the last three stages, on a test split that equals the training split; the second has a reference."""
    store = Store.open(tmp_path_factory.mktemp("numbers") / "artifacts")
    data = put_data(store, normalize_images(smooth_pixels(N, 0)))
    labels = store.put_array(np.arange(N, dtype=np.uint8) % 10)
    names = tuple(f"class {label}" for label in range(10))
    data = data.model_copy(update={"class_names": names, "train_labels": labels, "test_labels": labels})
    raw = RawData(
        train_images=labels, train_labels=labels, test_images=labels, test_labels=labels,
        seconds=0.1 + 0.2, facts={"source": "a folder"},
    )  # fmt: skip
    recipe = ARTICLE.model_copy(
        update={"latent_dim": 8, "generator_units": (16,), "discriminator_units": (16,), "learning_rate": 1e-5}
    )
    config = TrainConfig(recipe=recipe, steps=12, batch_size=128, sample_every=6, num_snapshot_images=9)
    samples, extractor = SampleConfig(num_images=N), put_extractor(store)
    generator = store.put_file(lambda path: save_model(build_generator(recipe, 0), path), ".keras")
    snapshots = np.random.default_rng(0).integers(0, 256, (3, 9, 28, 28), dtype=np.uint8)
    history = (np.random.default_rng(0).random((12, 3)) / 1e6).astype(np.float32)
    facts = {"training_seconds": 1.5, "device": "cpu", "engine": "e", "milliseconds_per_step": 0.07}
    trained = TrainedGan(
        generator=generator,
        average=generator,
        history=store.put_array(history),
        snapshots=store.put_array(snapshots),
        average_snapshots=store.put_array(snapshots),
        warnings=(),
        facts=facts,
    )
    pictures = render.task.fn(store, data, trained, config, "cpu")
    floor = measure_floor.task.fn(store, data, N, 1, "cpu")
    separated = separate.task.fn(store, data, trained.average, samples, 1, "cpu")
    records = RunRecords(
        raw=raw,
        data=data,
        extractor=extractor,
        trained=trained,
        pictures=pictures,
        floor=floor,
        separated=separated,
    )
    runs: list[PublishedRun] = []
    for name in ("first", "second"):
        before = {Path(ref.key).name: ref for ref in runs[0].published} if runs else {}
        reference = before and Reference(
            name="first",
            average=before["generator_average.keras"],
            samples=before["samples.npz"],
            average_samples=before["samples_average.npz"],
        )
        opponents = Opponents(reference=reference or None, champion=None)
        run = RunConfig(name=name, train=config, samples=samples)
        comparison = compare.task.fn(store, records, opponents, run, "cpu")
        runs.append(publish.task.fn(store, run, records, opponents, comparison))
    return store, runs


def test_no_file_of_a_published_run_holds_what_is_no_number_or_an_artefact(published) -> None:
    store, runs = published
    for run in runs:
        check_folder(store.root / "runs" / run.name)


def test_a_published_run_says_what_is_not_defined_and_why(published) -> None:
    store, _ = published
    folder = store.root / "runs" / "second"
    content = check_json((folder / "metrics.json").read_text(), "metrics.json")
    metric = content["metrics"]["nearest_training_image"]
    why = "at least half of the test images are training images, moved or not: their median distance is 0"
    assert (metric["value"], metric["undefined"]["value"]) == (None, why)
    assert content["metrics"]["near_copies"]["floor"] == 1
    row = content["differences"]["value"]["nearest_training_image"]
    assert (row["low"], row["verdict"], row["undefined"]["low"]) == (None, "not defined", why)
    for name in ("report.html", "report.md"):
        text = (folder / name).read_text()
        assert text.count(why) >= 3, "gate, table, differences"
        assert text.count("not defined") >= 6
    assert "Adam" in text
    assert "0.00001, betas" in text
    assert "Nearest training image is not defined" in describe_champion_status(store.root, "second")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert not Decision.model_validate(manifest["gate"]).passes
    found = read_result("article", 0, folder)
    assert found.values["near_copies"] is not None


def test_a_report_has_the_duration_of_the_whole_training_also_of_a_resumed_one(published) -> None:
    """That of the stage is only the duration of the last process."""
    store, _ = published
    assert "trained on cpu in 1.5 s" in (store.root / "runs" / "first" / "report.html").read_text()


def test_terminal_and_artifacts_of_a_run_show_no_number_that_is_none(published, monkeypatch, capsys) -> None:
    store, (_, run) = published
    shown: list[dict] = []
    for name in ("create_markdown_artifact", "create_table_artifact"):
        monkeypatch.setattr(tasks.artifacts, name, lambda **artifact: shown.append(artifact))
    create_artifacts(store, run, "1 MB")
    for artifact in shown:
        check_words(artifact.get("markdown", "") + artifact["description"], artifact["key"])
        for row in artifact.get("table", []):
            check_words("\n".join(row.values()), artifact["key"])
    (table,) = (artifact["table"] for artifact in shown if artifact["key"] == "metrics")
    assert [row["last weights"] for row in table].count("not defined") == 1
    assert any("Not defined: at least half" in row["features, and how to read it"] for row in table)
    print_summary(store, run)
    check_words(capsys.readouterr().out, "terminal")


def test_metrics_of_earlier_versions_with_infinity_are_still_shown(published, tmp_path, monkeypatch) -> None:
    store, (_, run) = published
    folder = store.root / "runs" / "second"
    before = (folder / "metrics.json").read_text()
    content = json.loads(before)
    for metric in content["metrics"].values():
        metric.pop("undefined", None)
        metric["average"] = INF
    (folder / "metrics.json").write_text(json.dumps(content))
    shown: list[dict] = []
    for name in ("create_markdown_artifact", "create_table_artifact"):
        monkeypatch.setattr(tasks.artifacts, name, lambda **artifact: shown.append(artifact))
    create_artifacts(store, run, "1 MB")
    found = read_result("article", 0, folder)
    (folder / "metrics.json").write_text(before)
    (table,) = (artifact["table"] for artifact in shown if artifact["key"] == "metrics")
    assert {row["averaged weights"] for row in table} == {"not defined"}
    assert set(found.values.values()) == {None}
    assert set(found.undefined.values()) == {NOT_FINITE}
    check_csv(as_csv(rank([found], [])), "leaderboard.csv")


def test_the_terminals_comparison_says_what_is_not_defined(capsys) -> None:
    undefined = dict.fromkeys(("this", "low", "high"), "all images are equal")
    row = {"name": "recall", "title": "Recall", "better": "higher", "n": 9, "extractor": "small", "other": 0.25}
    row |= {"this": None, "difference": 0.25, "low": None, "high": None, "undefined": undefined}
    rows = (Difference.model_validate(row),)
    against = RunComparison("a", "b", True, b"", b"", rows, rows, n=9, extractor="small", changes=(), commits=())
    assert against.verdict.count("show no difference beyond noise (not defined: Recall)") == 2
    print_comparison(against, Path("comparison.html"))
    shown = capsys.readouterr().out
    check_words(shown, "terminal")
    assert shown.count("not defined") == 6, "A, the interval, and whether A is better; twice"
    page = render_comparison(against, "Tiny")
    check_words(page, "comparison.html")
    assert page.count("Not defined: all images are equal") == 2


def test_a_count_of_images_that_is_infinity_is_no_traceback(published, tmp_path) -> None:
    store, _ = published
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(store.root / "runs" / "first" / "generator_average.keras", run)
    (run / "data_summary.json").write_text('{"train": {"images_per_class": {"a": Infinity, "b": 1e999}}}')
    generate(run, num_images=4, out=tmp_path / "images.png")
    assert (tmp_path / "images.png").exists()
