"""Numbers that are written: strict JSON, no artefacts, and null with a reason, wherever a run is shown."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import put_data, put_extractor, smooth_pixels
from plain_files import check_csv, check_folder, check_json, check_words
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import tasks.artifacts
from flows.summary import print_summary
from flows.sweep_flow import Sweep, print_board
from gan.compare import _print_comparison as print_comparison
from gan.config import RunConfig, SampleConfig, TrainConfig
from gan.data.pixels import normalize_images
from gan.formatting import (
    describe_change,
    describe_interval,
    describe_number,
    describe_seconds,
    describe_setting,
    describe_share,
    plain_number,
)
from gan.generate import generate
from gan.judging.bootstrap import Difference
from gan.judging.definitions import AskedClasses
from gan.judging.gate import Decision
from gan.judging.judge import SnapshotJudge
from gan.judging.judgement import ClassShare
from gan.judging.measured import NOT_FINITE, MeasuredNumbers, rounded
from gan.models.backend import tf
from gan.models.networks import Networks, build_generator, save_model
from gan.report.charts import as_svg, draw_intensities, draw_losses, draw_quality
from gan.report.comparison import RunComparison
from gan.report.leaderboard import MEASURES, Result, as_csv, as_html, rank, read_result
from gan.report.page import render_comparison
from gan.report.tensorboard import EventFiles
from gan.runs.champion import describe_champion_status
from gan.runs.publish import check_run_name, write_json
from gan.storage.plain_json import to_json
from gan.storage.store import FileRef, Store
from gan.training.history import history_csv
from tasks.artifacts import create_artifacts
from tasks.callbacks import LiveView
from tasks.compare import compare
from tasks.publish import publish
from tasks.records import Opponents, PublishedRun, RawData, Reference, RunRecords, TrainedGan
from tasks.render import render
from tasks.two_sample import measure_floor, separate

N, NAN, INF = 100, float("nan"), float("inf")


@pytest.mark.parametrize("value", [NAN, INF, -INF, np.float32("nan"), np.float64("inf")])
def test_json_refuses_nan_and_infinity_and_names_their_position(value) -> None:
    with pytest.raises(ValueError, match=r"at content\.metrics\.recall\[1\]"):
        to_json({"metrics": {"recall": [0.5, value]}})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (-0.0, "0.0"),
        (1e-300, "1e-300"),
        (np.float32(0.7132), "0.7132"),
        (np.float64(2.5), "2.5"),
        (np.int64(3), "3"),
        (np.bool_(True), "true"),
        (np.array([[1, 2]]), "[[1, 2]]"),
        (True, "true"),
        (None, "null"),
        (10**20, "100000000000000000000"),
        ((), "[]"),
        ({}, "{}"),
    ],
)
def test_json_has_numbers_without_artefacts(value, text) -> None:
    assert to_json(value, indent=None) == text


def test_json_equals_that_of_the_standard_library_for_short_numbers() -> None:
    content = {"a": [1, 2.5, {"b": "é\n\"'"}], "c": {}, "d": [], "e": None, "f": {"g": [[True], "x"]}}
    assert to_json(content) == json.dumps(content, indent=2, ensure_ascii=False)
    assert to_json(content, indent=None) == json.dumps(content, ensure_ascii=False)
    with pytest.raises(TypeError, match="set"):
        to_json({"a": {1}})


def test_settings_of_up_to_15_digits_survive_writing_and_reading() -> None:
    rng = np.random.default_rng(0)
    for exponent in range(-30, 30):
        value = float(f"{rng.uniform(1, 10):.14f}e{exponent}")
        assert float(plain_number(value)) == value
    assert json.loads(to_json({"rate": 1e-4, "epsilon": 1e-7})) == {"rate": 1e-4, "epsilon": 1e-7}


def test_a_setting_of_more_digits_is_the_same_run_when_it_is_published_again(tmp_path) -> None:
    config = {"train": {"learning_rate": 0.1 + 0.2}}
    (tmp_path / "runs" / "first").mkdir(parents=True)
    (tmp_path / "runs" / "first" / "config.json").write_text(to_json(config))
    check_run_name(tmp_path, "first", config)


def test_measured_numbers_have_six_digits_and_no_rounding_error_of_zero() -> None:
    values = (0.1 + 0.2, 12345.6789, 1 / 3, 1e-13, -1e-13, 123456789.0)
    assert [rounded(value) for value in values] == [0.3, 12345.7, 0.333333, 0, 0, 123457000]
    assert not np.signbit(rounded(-1e-13))
    assert ClassShare(name="a", real=2 / 3, generated=1 / 3).model_dump() == {
        "name": "a",
        "real": 0.666667,
        "generated": 0.333333,
    }


def test_a_null_number_requires_a_reason() -> None:
    with pytest.raises(ValueError, match="real is null without a reason"):
        AskedClasses(value=0.5, average=0.5, real=None)
    found = AskedClasses(value=0.5, average=0.5, real=None, undefined={"real": "no test images"})
    content = to_json(found.model_dump(), indent=None)
    assert content == '{"value": 0.5, "average": 0.5, "real": null, "undefined": {"real": "no test images"}}'
    assert AskedClasses.model_validate_json(content) == found


def difference(**numbers: float | dict[str, str] | None) -> dict:
    row = {"name": "recall", "title": "Recall", "better": "higher", "n": 9, "extractor": "small"}
    return row | {"this": 0.5, "other": 0.25, "difference": 0.25, "low": 0.125, "high": 0.375} | numbers


def test_records_of_earlier_versions_are_read_with_a_reason_where_they_hold_no_number() -> None:
    earlier = {"passes": False, "champion": "a", "reasons": ["b"], "differences": [difference(low=NAN, high=-INF)]}
    (row,) = Decision.model_validate_json(json.dumps(earlier)).differences
    assert (row.this, row.low, row.high) == (0.5, None, None)
    assert row.undefined == {"low": NOT_FINITE, "high": NOT_FINITE}
    gate = Decision.model_validate(json.loads(json.dumps(earlier)))
    text = to_json(gate.model_dump(mode="json"))
    check_json(text, "gate")
    assert Decision.model_validate_json(text) == gate


@pytest.mark.parametrize("model", MeasuredNumbers.__subclasses__())
def test_records_refuse_nan(model) -> None:
    assert model.model_config["allow_inf_nan"] is False
    with pytest.raises(ValueError, match="finite"):
        RawData.model_validate({"seconds": NAN})


def test_formatting_of_undefined_and_of_small_numbers() -> None:
    for value in (None, NAN, INF, -INF):
        words = [describe(value) for describe in (describe_number, describe_share, describe_change, describe_seconds)]
        assert {*words, describe_interval(0.5, value), describe_interval(value, value)} == {"not defined"}
    assert describe_interval(-1, 2) == "−1 to +2"
    assert [describe_number(value) for value in (0.00001234, -0.0000999, 1e-7)] == [
        "0.0000123",
        "−0.0000999",
        "0.0000001",
    ]
    assert describe_share(1e-6) == "0.0001 %"
    assert [describe_setting(value) for value in (1e-5, 0.1 + 0.2, 2.0, 0.0)] == ["0.00001", "0.3", "2", "0"]


def test_a_csv_cell_is_empty_where_there_is_no_number_and_has_no_exponent() -> None:
    history = np.array([[1e-5, 0.5, 3e10], [1e-12, 1, 2]], np.float32)
    text = history_csv(history, {0: np.array([NAN, 0.25]), 1: np.array([INF, NAN])}).decode()
    check_csv(text, "history.csv")
    assert text.splitlines()[1:] == ["0,0.00001,0.5,30000000000.0,,0.25", "1,0.000000000001,1.0,2.0,,"]


@pytest.mark.parametrize("undefined", [[1], [0, 1, 2]])
def test_a_curve_has_a_gap_where_a_value_is_not_defined(undefined) -> None:
    quality = np.array([[900.0, 0], [300, 0.1], [350, 0.3]])
    quality[undefined] = NAN
    svg = str(as_svg(draw_quality([0, 1000, 2000], quality, "9 images"), "quality"))
    assert ("best: 350 at step 2,000" if len(undefined) == 1 else "best: not defined") in svg
    check_words(svg, "chart")


def test_charts_of_constant_values_are_drawn_without_a_warning() -> None:
    black = np.eye(1, 256)[0]
    as_svg(draw_intensities([black, black, black]), "intensities")
    as_svg(draw_quality([0, 1], np.zeros((2, 2)), "9 images"), "quality")
    for value in (0, 1e-30, 1e30):
        as_svg(draw_losses(np.full((5, 3), value, np.float32)), "losses")


def result(variant: str, distance: float | None, folder: Path) -> Result:
    (folder / "average_grid.png").write_bytes(b"a picture")
    values = dict.fromkeys(MEASURES, 0.1 + 0.2) | {"frechet_distance": distance}
    reasons = {"frechet_distance": "all images are equal"} if distance is None else {}
    titles = {name: name for name in MEASURES}
    return Result(variant, 0, f"run-{variant}", folder, values, titles, 100, "small", "0" * 64, 60.0, reasons)


def test_a_leaderboard_ranks_what_is_not_defined_last_and_says_why(tmp_path, capsys) -> None:
    results = [result("undefined", None, tmp_path), result("good", 0.00001, tmp_path), result("bad", 900.0, tmp_path)]
    board = rank("3 trainings", results, [])
    assert [row.variant for row in board.rows] == ["good", "bad", "undefined"]
    text, page = as_csv(board), as_html(board)
    check_csv(text, "leaderboard.csv")
    check_words(page, "leaderboard.html")
    assert page.count("not defined") == 2
    assert "all images are equal" in page
    last = list(csv.DictReader(text.splitlines()))[-1]
    assert (last["frechet_distance_mean"], last["reason"]) == ("", "frechet_distance: all images are equal")
    shared = type("Shared", (), {"output_dir": tmp_path})()
    print_board(Sweep(board, tmp_path), shared)
    shown = capsys.readouterr().out
    assert "not defined" in shown
    check_words(shown, "terminal")
    seeds = [replace(results[1], variant="undefined", seed=1), results[0]]
    assert rank("", seeds, []).rows[0].measures["frechet_distance"].mean is None, "not a mean of those that are left"


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> tuple[Store, list[PublishedRun]]:
    """Two runs of the last three stages, on a test split that equals the training split; the second has a reference."""
    store = Store.open(tmp_path_factory.mktemp("numbers") / "artifacts")
    data = put_data(store, normalize_images(smooth_pixels(N, 0)))
    labels = store.put_array(np.arange(N, dtype=np.uint8) % 10)
    names = tuple(f"class {label}" for label in range(10))
    data = data.model_copy(update={"class_names": names, "train_labels": labels, "test_labels": labels})
    raw = RawData(
        dataset="tiny", train_images=labels, train_labels=labels, test_images=labels, test_labels=labels,
        seconds=0.1 + 0.2, facts={"source": "a folder"},
    )  # fmt: skip
    recipe = TrainConfig().recipe.model_copy(
        update={"latent_dim": 8, "generator_units": (16,), "discriminator_units": (16,), "learning_rate": 1e-5}
    )
    config = TrainConfig(recipe=recipe, steps=12, sample_every=6, num_snapshot_images=9)
    samples, extractor = SampleConfig(num_images=N), put_extractor(store)
    generator = store.put_file(lambda path: save_model(build_generator(recipe, 0), path), ".keras")
    snapshots = np.random.default_rng(0).integers(0, 256, (3, 9, 28, 28), dtype=np.uint8)
    history = (np.random.default_rng(0).random((12, 3)) / 1e6).astype(np.float32)
    facts = {"training_seconds": 1.5, "device": "cpu", "engine": "e", "milliseconds_per_step": 0.07}
    trained = TrainedGan(
        generator=generator,
        average=generator,
        history=store.put_bytes(history_csv(history), ".csv"),
        snapshot_steps=config.snapshot_steps,
        snapshots=store.put_array(snapshots),
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
            generator=before["generator.keras"],
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
    why = "at least half of the test images equal training images, so their median distance is 0"
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
    assert [row["generated"] for row in table].count("not defined") == 1
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
    check_csv(as_csv(rank("", [found], [])), "leaderboard.csv")


def test_the_terminals_comparison_says_what_is_not_defined(capsys) -> None:
    undefined = dict.fromkeys(("this", "low", "high"), "all images are equal")
    rows = (Difference.model_validate(difference(this=None, low=None, high=None, undefined=undefined)),)
    against = RunComparison("a", "b", True, b"", b"", rows, rows, n=9, extractor="small", changes=(), commits=())
    assert against.verdict.count("show no difference beyond noise (not defined: Recall)") == 2
    print_comparison(against, Path("comparison.html"))
    shown = capsys.readouterr().out
    check_words(shown, "terminal")
    assert shown.count("not defined") == 6, "A, the interval, and whether A is better; twice"
    page = render_comparison(against, "Tiny")
    check_words(page, "comparison.html")
    assert page.count("Not defined: all images are equal") == 2


class UndefinedDistance(SnapshotJudge):
    """Measures a distance that is not defined, without an extractor."""

    description = "9 images"

    def __init__(self) -> None:
        pass

    def __call__(self, pixels: np.ndarray) -> tuple[float, float]:
        return NAN, 0.5


def test_the_live_view_has_no_losses_before_there_are_any() -> None:
    view = LiveView(TrainConfig(steps=10), UndefinedDistance())
    view.on_resume([0], np.zeros((1, 9, 28, 28), np.uint8))
    text = view._markdown()
    check_words(text, "live view")
    assert "Fréchet distance not defined, recall 50 %" in text


def test_a_gradient_norm_that_overflows_is_a_gap_in_the_events(tiny_config, tiny_images, tmp_path, monkeypatch) -> None:
    files = EventFiles(tmp_path, tiny_images, tiny_config)
    large = [tf.constant([3e38, 3e38])], [tf.constant([3.0, 4.0])]
    monkeypatch.setattr(files, "_gradients", lambda networks, step: large)
    files.on_snapshot(0, np.zeros((9, 28, 28), np.uint8), Networks.build(tiny_config.recipe, seed=0))
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0}).Reload()
    assert {tag for tag in events.Tags()["tensors"] if "norm" in tag} == {"gradient_norm/discriminator"}


def test_a_count_of_images_that_is_infinity_is_no_traceback(published, tmp_path) -> None:
    store, _ = published
    run = tmp_path / "run"
    run.mkdir()
    (run / "generator.keras").write_bytes((store.root / "runs" / "first" / "generator.keras").read_bytes())
    (run / "data_summary.json").write_text('{"train": {"images_per_class": {"a": Infinity, "b": 1e999}}}')
    generate(run, num_images=4, out=tmp_path / "images.png")
    assert (tmp_path / "images.png").exists()


def test_write_json_and_the_store_refuse_alike(store, tmp_path) -> None:
    for write in (lambda content: write_json(tmp_path / "x.json", content), store.put_json):
        with pytest.raises(ValueError, match=r"JSON has no number for nan at content\.a"):
            write({"a": NAN})
    assert isinstance(store.put_json({"a": np.float32(0.7132)}), FileRef)
