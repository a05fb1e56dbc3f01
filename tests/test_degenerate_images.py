"""Metrics of degenerate images are finite or have a reason; the tests also fail on a RuntimeWarning."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from builders import small_extractor, smooth_pixels
from narrowing import not_none

from gan.judging.bootstrap import bootstrap_differences
from gan.judging.class_shares import count_classes
from gan.judging.definitions import METRICS
from gan.judging.gate import decide
from gan.judging.image_statistics import ImageStatistics
from gan.judging.judge import Judge, SnapshotJudge
from gan.judging.metrics import neighbours
from gan.judging.metrics.frechet import frechet_distance
from gan.judging.metrics.kernel import kernel_terms
from gan.judging.metrics.neighbours import (
    K_DENSITY_COVERAGE,
    K_PRECISION_RECALL,
    ball_radii,
    density_coverage,
    precision_recall,
)
from gan.judging.metrics.two_sample import held_out_logits
from gan.models.latents import interpolate_latents
from gan.training.guards import find_collapse

N = 100
EQUAL_SPLITS = "at least half of the test images are training images, moved or not: their median distance is 0"


def all_equal(seed: int) -> np.ndarray:
    return np.repeat(smooth_pixels(1, seed), N, axis=0)


def two_images(seed: int) -> np.ndarray:
    return np.repeat(smooth_pixels(2, seed), N // 2, axis=0)


def duplicates(seed: int) -> np.ndarray:
    return np.repeat(smooth_pixels(N // 10, seed), 10, axis=0)


def of_one_level(level: int) -> Callable[[int], np.ndarray]:
    return lambda seed: np.full((N, 28, 28), level, np.uint8)


def smooth(seed: int) -> np.ndarray:
    return smooth_pixels(N, seed)


SETS = {
    "smooth": smooth,
    "all equal": all_equal,
    "two images": two_images,
    "duplicates": duplicates,
    "black": of_one_level(0),
    "white": of_one_level(255),
}


@pytest.fixture(scope="module", params=[3, 1], ids=["three classes", "one class"])
def extractor(request):
    return small_extractor(request.param)


@pytest.fixture(scope="module", params=SETS.values(), ids=list(SETS))
def judge(extractor, request) -> Judge:
    return Judge(extractor, request.param(0), request.param(1), n=N, seed=0)


@pytest.mark.parametrize("of_fake", SETS.values(), ids=SETS)
def test_each_number_of_degenerate_sets_is_finite_or_has_a_reason(judge, of_fake) -> None:
    for metric in judge.metrics(judge.examine(of_fake(2)), judge.examine(of_fake(3))):
        for name in ("value", "average", "floor"):
            value = getattr(metric, name)
            assert (value is None) == (name in metric.undefined), metric
            assert value is None or np.isfinite(value)
            assert value is not None or metric.name == "nearest_training_image"


def test_if_the_splits_are_equal_all_images_are_copies_and_relative_distances_are_not_defined() -> None:
    images = smooth_pixels(N, 0)
    judge = Judge(small_extractor(), images, images, n=N, seed=0)
    found = judge.metrics(judge.examine(images), judge.examine(smooth_pixels(N, 1)))
    of = {metric.name: metric for metric in found}
    copies, relative = of["near_copies"], of["nearest_training_image"]
    assert (copies.value, copies.average, copies.floor) == (1, 0, 1)
    assert (relative.value, relative.average, relative.floor) == (None, None, None)
    assert relative.undefined == dict.fromkeys(("value", "average", "floor"), EQUAL_SPLITS)
    classes = count_classes("abc", judge.test.classes, judge.examine(images).fake.classes)
    decision = decide(found, classes, (), None, (), full_n=N)
    assert f"Nearest training image is not defined: {EQUAL_SPLITS}." in decision.reasons


def test_a_comparison_on_equal_splits_gives_a_reason_for_each_missing_interval() -> None:
    images = smooth_pixels(N, 0)
    judge = Judge(small_extractor(), images, images, n=N, seed=0)
    this, other = judge.examine(images), judge.examine(smooth_pixels(N, 1))
    for row in bootstrap_differences(this, other, judge.floor, extractor="small", seed=0):
        if row.name == "nearest_training_image":
            assert (row.this, row.other, row.difference, row.low, row.high) == (None,) * 5
            assert (row.why, row.verdict) == (EQUAL_SPLITS, "not defined")
        else:
            assert not row.undefined
            assert not_none(row.low) <= not_none(row.difference) <= not_none(row.high)


@pytest.mark.parametrize(("name", "compared"), [("precision", 0.5), ("confidence", 0.0)])
def test_a_metric_that_is_not_defined_in_some_resamples_or_batches_has_no_interval(name, compared, monkeypatch) -> None:
    """Precision has batch means, confidence has only a bootstrap."""
    judge = Judge(small_extractor(), smooth_pixels(N, 0), smooth_pixels(N, 1), n=N, seed=0)
    this, other = judge.examine(smooth_pixels(N, 2)), judge.examine(smooth_pixels(N, 3))
    image = this.fake.features[0]

    def measure(statistics: ImageStatistics) -> float:
        lacks_it = len(statistics.fake.features) < N or not (statistics.fake.features == image).all(axis=1).any()
        return np.nan if lacks_it and statistics is not other and statistics is not judge.floor else 0.5

    metrics = [
        replace(m, measure=measure, undefined="it needs the first image") if m.name == name else m for m in METRICS
    ]
    monkeypatch.setattr("gan.judging.bootstrap.METRICS", metrics)
    rows = bootstrap_differences(this, other, judge.floor, extractor="small", seed=0)
    (row,) = (row for row in rows if row.undefined)
    assert (row.name, row.this, row.other, row.low, row.verdict) == (name, compared, compared, None, "not defined")
    assert row.why == "it needs the first image"


@pytest.mark.parametrize("definition", METRICS, ids=lambda definition: definition.name)
def test_nothing_is_compared_for_an_undefined_value(definition) -> None:
    assert np.isnan(definition.compared(np.nan, 0.1))


@pytest.mark.parametrize("of", SETS.values(), ids=SETS)
def test_a_degenerate_set_does_not_differ_from_itself(of) -> None:
    judge = Judge(small_extractor(), of(0), of(1), n=N, seed=0)
    found = judge.examine(of(2))
    rows = bootstrap_differences(found, found, judge.floor, extractor="small", seed=0)
    assert {row.verdict for row in rows} <= {"no difference beyond noise", "not defined"}


@pytest.mark.parametrize("offset", [0.0, 0.1, 1e3, 1e6])
@pytest.mark.parametrize("copies", [1, 2, 4, 10, 40])
def test_identical_sets_lie_in_each_others_balls_even_with_duplicates(copies, offset, monkeypatch) -> None:
    """Simulate the rounding errors of another processor."""
    rng = np.random.default_rng(0)
    exact = neighbours.squared_distances

    def with_other_rounding(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        norms = (a**2).sum(axis=1)[:, np.newaxis] + (b**2).sum(axis=1)
        return np.maximum(exact(a, b) + rng.uniform(-1, 1, norms.shape) * 1e-14 * norms, 0)

    monkeypatch.setattr(neighbours, "squared_distances", with_other_rounding)
    once = rng.normal(size=(max(1, 400 // copies), 112)) + offset
    real = np.repeat(once, copies, axis=0).astype(np.float32)
    fake = real[rng.permutation(len(real))]
    radii = ball_radii(real, K_PRECISION_RECALL)
    precise, recalled, *_ = precision_recall(real, fake, radii, ball_radii(fake, K_PRECISION_RECALL))
    density, covered, *_ = density_coverage(real, fake, ball_radii(real, K_DENSITY_COVERAGE))
    assert precise.all()
    assert recalled.all()
    assert covered.all()
    assert density.min() >= min(copies, K_DENSITY_COVERAGE) / K_DENSITY_COVERAGE


def test_the_rounding_tolerance_of_balls_is_far_below_any_distance_of_different_images() -> None:
    features = np.random.default_rng(0).normal(size=(300, 112))
    radii = ball_radii(features, K_PRECISION_RECALL)
    exact = np.sort(((features[:, None] - features) ** 2).sum(axis=2), axis=1)[:, K_PRECISION_RECALL]
    np.testing.assert_allclose(radii, exact, rtol=1e-11)


@pytest.mark.parametrize("n", [2, 5, 12])
@pytest.mark.parametrize("constant", [False, True])
def test_distances_of_fewer_images_than_features_and_of_constant_features_are_finite(n, constant) -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(n, 12)), rng.normal(size=(n, 12))
    if constant:
        real[:, ::2] = fake[:, ::2] = 0.1
    assert 0 < frechet_distance(real, fake) < 1e3
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(kernel_terms(real, fake)).all()
    logits = np.concatenate(held_out_logits(real, fake, rng))
    assert np.isfinite(logits).all()


def test_a_feature_that_is_constant_up_to_rounding_does_not_separate_images() -> None:
    rng = np.random.default_rng(0)
    real = np.full((200, 3), 0.1, np.float32)
    found = held_out_logits(real, np.nextafter(real, np.float32(1)), rng)
    assert np.abs(np.concatenate(found)).max() < 1e-3


def test_two_sample_logits_of_a_single_image_raise_a_helpful_error() -> None:
    with pytest.raises(ValueError, match="got 1 and 5 images; it expects two or more of each"):
        held_out_logits(np.zeros((1, 2)), np.zeros((5, 2)), np.random.default_rng(0))


@pytest.mark.parametrize("num", [9, 40])
@pytest.mark.parametrize("of", SETS.values(), ids=SETS)
def test_snapshots_of_few_degenerate_images_have_finite_numbers(of, num) -> None:
    distance, recall = SnapshotJudge(small_extractor(), of(0), num)(of(1))
    assert np.isfinite(distance)
    assert 0 <= recall <= 1


@pytest.mark.parametrize(
    ("start", "end"), [([1, 2], [1, 2]), ([1, 2], [3, 6]), ([1, 2], [-1, -2]), ([0, 0], [1, 2]), ([0, 0], [0, 0])]
)
def test_a_path_between_parallel_latents_is_straight(start, end) -> None:
    start, end = np.array(start, np.float32), np.array(end, np.float32)
    path = interpolate_latents(start, end, 5)
    np.testing.assert_allclose(path, np.linspace(start, end, 5), atol=1e-6)


def test_training_images_without_variance_do_not_raise_a_division_error() -> None:
    history = np.full((600, 3), 0.5, np.float32)
    assert not list(find_collapse(np.zeros((4, 28, 28, 1)), 0.0, history))
