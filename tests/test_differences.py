"""Differences between two generators: their bootstrap intervals, and which generator is called better."""

import numpy as np
import pytest
import scipy.stats
from builders import small_extractor, smooth_pixels
from narrowing import not_none

from gan.judging.bootstrap import (
    BATCHES,
    NORMAL_QUANTILE,
    STUDENT_QUANTILE,
    Difference,
    _margins,
    bootstrap_differences,
)
from gan.judging.definitions import METRICS, Definition
from gan.judging.image_statistics import ImageStatistics
from gan.judging.judge import Judge

N = 150


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(small_extractor(10), smooth_pixels(300, 0), smooth_pixels(N, 1), n=N, seed=0)


@pytest.fixture(scope="module")
def noise(judge) -> ImageStatistics:
    return judge.examine(np.random.default_rng(2).integers(0, 256, (N, 28, 28), dtype=np.uint8))


@pytest.fixture(scope="module")
def smooth(judge) -> ImageStatistics:
    """Return the statistics of images that are distributed like the real ones."""
    return judge.examine(smooth_pixels(N, 3))


def differences(judge: Judge, this: ImageStatistics, other: ImageStatistics) -> tuple[Difference, ...]:
    return bootstrap_differences(this, other, judge.floor, extractor=judge.extractor.name, seed=0)


def test_the_quantiles_are_bonferroni_corrected_for_fourteen_intervals() -> None:
    level = 1 - 0.05 / 2 / len(METRICS)
    assert pytest.approx(scipy.stats.norm.ppf(level)) == NORMAL_QUANTILE
    assert pytest.approx(scipy.stats.t.ppf(level, BATCHES - 1), abs=1e-4) == STUDENT_QUANTILE


def test_intervals_are_about_as_wide_as_the_spread_over_disjoint_sets_that_differ(judge, monkeypatch) -> None:
    """Also where the two generators differ, which is when a wrong standard error misleads."""
    monkeypatch.setattr("gan.judging.bootstrap.RESAMPLES", 60)
    names = "precision", "recall", "density", "coverage"
    found, claimed = [], []
    for number in range(24):
        pixels = smooth_pixels(N, 100 + number)
        of_set = Judge(judge.extractor, smooth_pixels(300, 0), smooth_pixels(N, 200 + number), n=N, seed=0)
        rough = np.random.default_rng(number).normal(0, 25, pixels.shape) + smooth_pixels(N, 300 + number)
        sets = of_set.examine(pixels), of_set.examine(rough.clip(0, 255).astype(np.uint8))
        rows = {row.name: row for row in differences(of_set, *sets)}
        found.append([not_none(rows[name].difference) for name in names])
        claimed.append([not_none(rows[name].high) - not_none(rows[name].low) for name in names])
    ratios = np.mean(claimed, axis=0) / (2 * NORMAL_QUANTILE) / np.std(found, axis=0, ddof=1)
    assert ratios.min() > 0.9, ratios
    assert ratios.max() < 2.5, ratios


@pytest.mark.parametrize("spread_of_batches", [0.1, 100.0])
def test_the_margin_of_a_classifier_is_that_of_the_larger_of_two_errors(
    smooth, noise, monkeypatch, spread_of_batches: float
) -> None:
    rng, num = np.random.default_rng(0), len(METRICS)
    of_resamples = rng.normal(size=(200, num))
    of_batches = spread_of_batches * rng.normal(size=(10, 1))
    left = {num: iter(of_resamples.tolist()), 1: iter(of_batches.tolist())}
    monkeypatch.setattr("gan.judging.bootstrap._differences", lambda metrics, *_: next(left[len(metrics)]))
    margins = _margins(smooth, noise, {metric.name: 0.0 for metric in METRICS}, 0)
    errors = of_resamples.std(axis=0, ddof=1)
    by_batches = of_batches.std(ddof=1) / np.sqrt(10)
    for metric, margin, error in zip(METRICS, margins, errors, strict=True):
        if metric.name == "two_sample_accuracy":
            assert margin == pytest.approx(STUDENT_QUANTILE * max(error, by_batches))
        else:
            assert margin == pytest.approx(NORMAL_QUANTILE * error)
    assert not [*left[num], *left[1]], "all resamples and batches count"


@pytest.mark.parametrize(
    ("better", "below", "at", "above"),
    [
        ("lower", 1, 3, 5),
        ("higher", 1, 3, 5),
        ("up to real", 1, 3, 3),
        ("as real", 2, 0, 2),
        ("no more than real", 0, 0, 2),
    ],
)
def test_the_compared_quantity_depends_on_which_values_are_better(better, below, at, above) -> None:
    of = Definition("a", "A", better, "", lambda e: 0.0)
    assert [of.compared(value, 3.0) for value in (1.0, 3.0, 5.0)] == [below, at, above]


def test_fewer_near_copies_than_among_real_images_are_not_an_improvement() -> None:
    of = next(metric for metric in METRICS if metric.name == "near_copies")
    assert of.compared(0.0, 0.015) == of.compared(0.015, 0.015) == 0 < of.compared(0.02, 0.015)


def test_noise_is_not_called_an_improvement_and_an_improvement_is(judge, noise, smooth) -> None:
    other = judge.examine(smooth_pixels(150, 8))
    assert {row.verdict for row in differences(judge, smooth, other)} == {"no difference beyond noise"}
    better = {row.name: row for row in differences(judge, smooth, noise)}
    for name in ("frechet_distance", "kernel_distance", "coverage", "two_sample_accuracy", "total_variation"):
        assert better[name].verdict == "better", name
        assert not_none(better[name].low) <= not_none(better[name].difference) <= not_none(better[name].high)
    worse = {row.name: row.verdict for row in differences(judge, noise, smooth)}
    assert worse["frechet_distance"] == "worse"


def test_a_generator_does_not_differ_from_itself(judge, noise) -> None:
    for row in differences(judge, noise, noise):
        assert (row.difference, row.low, row.high, row.verdict) == (0, 0, 0, "no difference beyond noise")


@pytest.mark.parametrize(
    ("better", "low", "high", "verdict"),
    [
        ("lower", -2, -1, "better"),
        ("lower", 1, 2, "worse"),
        ("up to real", 1, 2, "better"),
        ("as real", -2, -1, "better"),
        ("higher", -1, 2, "no difference beyond noise"),
    ],
)
def test_what_is_better_depends_on_the_metric(better, low, high, verdict) -> None:
    middle = (low + high) / 2
    row = Difference(
        name="a", title="A", better=better, this=0, other=0, n=9, extractor="b", difference=middle, low=low, high=high
    )
    assert row.verdict == verdict
