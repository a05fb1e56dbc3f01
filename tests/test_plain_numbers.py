"""Numbers as JSON, CSV, text and charts: strict, without artefacts, and null only with a reason."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import article_config
from plain_files import check_csv, check_json, check_words
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from flows.sweep_flow import Sweep, print_board
from gan.formatting import (
    describe_change,
    describe_interval,
    describe_number,
    describe_seconds,
    describe_setting,
    describe_share,
)
from gan.judging.class_shares import ClassShare
from gan.judging.definitions import AskedClasses
from gan.judging.gate import Decision
from gan.judging.judge import SnapshotJudge
from gan.judging.measured import NOT_FINITE, rounded
from gan.models.backend import tf
from gan.models.networks import Networks
from gan.report.charts import as_svg, draw_intensities, draw_losses, draw_quality
from gan.report.history_file import history_csv
from gan.report.leaderboard import MEASURES, Result
from gan.report.leaderboard_files import as_csv, as_html
from gan.report.ranking import rank
from gan.report.tensorboard import EventFiles
from gan.runs.publish import check_run_name, write_json
from gan.storage.plain_json import to_json
from gan.storage.store import FileRef
from tasks.callbacks import LiveView
from tasks.records import RawData

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
        assert float(describe_setting(value)) == value
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


def test_records_refuse_nan() -> None:
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
    board = rank(results, [])
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
    assert rank(seeds, []).rows[0].measures["frechet_distance"].mean is None, "not a mean of those that are left"


class UndefinedDistance(SnapshotJudge):
    """Measures a distance that is not defined, without an extractor."""

    description = "9 images"

    def __init__(self) -> None:
        pass

    def __call__(self, pixels: np.ndarray) -> tuple[float, float]:
        return NAN, 0.5


def test_the_live_view_has_no_losses_before_there_are_any(tiny_config, monkeypatch) -> None:
    view = LiveView(article_config(steps=10), "CPU", UndefinedDistance())
    shown: list[str] = []
    monkeypatch.setattr(view._artifact, "show", lambda markdown, description: shown.append(markdown))
    with view:
        view.on_snapshot(0, np.zeros((9, 28, 28), np.uint8), Networks.build(tiny_config.recipe, seed=0))
    (text,) = shown
    check_words(text, "live view")
    assert "Fréchet distance not defined, recall 50 %" in text


def test_a_gradient_norm_that_overflows_is_a_gap_in_the_events(tiny_config, tiny_images, tmp_path, monkeypatch) -> None:
    files = EventFiles(tmp_path, tiny_images, tiny_config)
    large = [tf.constant([3e38, 3e38])], [tf.constant([3.0, 4.0])]
    monkeypatch.setattr(files, "_gradients", lambda networks, step: large)
    files.on_snapshot(0, np.zeros((9, 28, 28), np.uint8), Networks.build(tiny_config.recipe, seed=0))
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0}).Reload()
    assert {tag for tag in events.Tags()["tensors"] if "norm" in tag} == {"gradient_norm/discriminator"}


def test_write_json_and_the_store_refuse_alike(store, tmp_path) -> None:
    for write in (lambda content: write_json(tmp_path / "x.json", content), store.put_json):
        with pytest.raises(ValueError, match=r"JSON has no number for nan at content\.a"):
            write({"a": NAN})
    assert isinstance(store.put_json({"a": np.float32(0.7132)}), FileRef)
