"""The gate's limits on given numbers of a generator, its champions and real images."""

import numpy as np
import pytest
from builders import CLASS_NAMES, EQUAL_SHARES
from narrowing import not_none

from gan.judging.bootstrap import Difference
from gan.judging.class_shares import ClassShare
from gan.judging.definitions import Metric
from gan.judging.faults import useless_images
from gan.judging.gate import GATE_METRICS, MARGIN, Incumbent, Quality, best_of, decide
from gan.judging.metrics.memorization import relative_to_other_images, relative_to_test

FLOORS = {"frechet_distance": 0.08, "precision": 0.86, "recall": 0.87, "coverage": 0.97, "class_entropy": 3.3}


def measured(values: dict[str, float]) -> list[Metric]:
    """Return the metrics that the gate examines, measured on 10,000 images."""
    return [
        Metric(
            name=name,
            title=name,
            value=value,
            average=value,
            floor=FLOORS.get(name, 0.01),
            n=10_000,
            floor_n=10_000,
            better="up to real",
            extractor="small",
            reading="",
        )
        for name, value in {"class_entropy": 3.3, "near_copies": 0.0, "near_duplicates": 0.0, **values}.items()
    ]


def against_champion(mine: dict[str, float], champions: dict[str, float]) -> tuple[Difference, ...]:
    """Return differences with intervals of a tenth of the distance, and so wide for shares that they say nothing."""
    return tuple(
        Difference(
            name=name,
            title=name,
            better="lower" if name == "frechet_distance" else "up to real",
            this=mine[name],
            other=champions[name],
            n=10_000,
            extractor="small",
            difference=mine[name] - champions[name],
            low=mine[name] - champions[name] - (0.01 if name == "frechet_distance" else 1),
            high=mine[name] - champions[name] + (0.01 if name == "frechet_distance" else 1),
        )
        for name in GATE_METRICS
    )


def before(*reached: Quality) -> Incumbent:
    return Incumbent("before", None, reached=reached)


def test_a_hundred_champions_that_differ_by_noise_lose_no_more_than_the_margin() -> None:
    """Each challenger is nearer to real images, and truly a little worse or better in the shares than the champion."""
    rng, shares, error = np.random.default_rng(0), ("precision", "recall", "coverage"), 0.005
    first = {"precision": 0.8, "recall": 0.6, "coverage": 0.85}
    truth, champion, num_passed = first, {"frechet_distance": 10.0, **first}, 0
    reached: tuple[Quality, ...] = ()
    for number in range(100):
        true = {name: truth[name] + rng.normal(-0.002, 0.004) for name in shares}
        mine = {"frechet_distance": 9.9 - 0.05 * number, **{name: true[name] + rng.normal(0, error) for name in shares}}
        decision = decide(
            measured(mine), EQUAL_SHARES, (), before(*reached), against_champion(mine, champion), full_n=10_000
        )
        if decision.passes:
            truth, champion, num_passed = true, mine, num_passed + 1
            reached = best_of((*reached, not_none(decision.quality)))
    assert 5 < num_passed < 100
    for name in shares:
        assert truth[name] > first[name] - MARGIN - 3 * error


def test_the_best_of_all_champions_counts_although_the_present_one_is_worse_or_of_an_earlier_version() -> None:
    good = {"precision": 0.8, "recall": 0.6, "coverage": 0.85}
    champion = {"frechet_distance": 9.0, **good, "recall": 0.5}
    mine = {"frechet_distance": 5.0, **good, "recall": 0.57}
    best = Quality(n=10_000, extractor="small", values=good)
    of_few_images = [row.model_copy(update={"n": 100}) for row in against_champion(mine, champion)]
    decision = decide(measured(mine), EQUAL_SHARES, (), before(best), of_few_images, full_n=10_000)
    assert decision.reasons == ("Recall 57 % is more than 2 percentage points below the best of all champions, 60 %.",)
    low = {**mine, "recall": 0.47}
    decision = decide(measured(low), EQUAL_SHARES, (), before(best), against_champion(low, champion), full_n=10_000)
    assert len(decision.reasons) == 2, "it is below the champion, and below a better one before it"
    same = {**champion, "recall": 0.6}
    worse = {**mine, "recall": 0.5}
    decision = decide(measured(worse), EQUAL_SHARES, (), before(best), against_champion(worse, same), full_n=10_000)
    assert len(decision.reasons) == 1, "the champion is the best of all: one fact, one sentence"
    of_few_images = [row.model_copy(update={"n": 1000}) for row in against_champion(mine, same)]
    decision = decide(measured(mine), EQUAL_SHARES, (), before(best), of_few_images, full_n=10_000)
    assert not decision.passes, "the comparison has a wider margin, so it does not say that recall is too low"
    close = {**mine, "recall": 0.585}
    unrecorded = against_champion(close, {**champion, "recall": 0.6})
    decision = decide(measured(close), EQUAL_SHARES, (), before(), unrecorded, full_n=10_000)
    assert decision.passes
    assert not_none(decision.quality).values["recall"] == 0.6


def test_a_generator_among_whose_images_no_real_one_lies_does_not_pass_even_without_a_champion() -> None:
    values = {"frechet_distance": 5.0, "precision": 0.8, "recall": 0.0, "coverage": 0.9}
    decision = decide(measured(values), EQUAL_SHARES, (), None, (), full_n=10_000)
    assert decision.reasons == ("No real image lies among its images: its recall is 0 %.",)


@pytest.mark.parametrize(("n", "floor", "limit"), [(10_000, 0.08, 16.0), (1000, 0.8, 16.7), (100, 8.0, 23.9)])
def test_the_limit_on_the_distance_allows_for_the_floor_of_few_images_only(n, floor, limit) -> None:
    for distance, passes in ((limit - 0.1, True), (limit + 0.1, False)):
        metrics = with_floor(measured({**GOOD, "frechet_distance": distance}), frechet_distance=floor)
        few = [metric.model_copy(update={"n": n}) for metric in metrics]
        assert decide(few, EQUAL_SHARES, (), None, (), full_n=n).passes is passes, distance


def test_values_above_those_of_real_images_are_not_required_of_later_champions() -> None:
    values = {"frechet_distance": 5.0, "precision": 0.95, "recall": 0.6, "coverage": 0.9}
    quality = not_none(decide(measured(values), EQUAL_SHARES, (), None, (), full_n=10_000).quality)
    assert quality.values == {"precision": 0.86, "recall": 0.6, "coverage": 0.9}


GOOD = {"frechet_distance": 5.0, "precision": 0.8, "recall": 0.6, "coverage": 0.85}


@pytest.mark.parametrize(("share", "passes"), [(0.064, True), (0.066, False)])
def test_near_copies_may_be_five_points_more_than_of_real_images(share, passes) -> None:
    metrics = with_floor(measured({**GOOD, "near_copies": share}), near_copies=0.015)
    assert decide(metrics, EQUAL_SHARES, (), None, (), full_n=10_000).passes is passes


@pytest.mark.parametrize(("share", "passes"), [(0.13, True), (0.14, False)])
def test_near_copies_of_few_images_may_be_three_standard_errors_more(share, passes) -> None:
    """Of 100 generated and 100 real images, 15 of 200: 3 sqrt(0.075 * 0.925 (1 / 100 + 1 / 100)) = 0.112."""
    metrics = with_floor(measured({**GOOD, "near_copies": share}), near_copies=0.02, frechet_distance=8.0)
    few = [metric.model_copy(update={"n": 100, "floor_n": 100}) for metric in metrics]
    assert decide(few, EQUAL_SHARES, (), None, (), full_n=100).passes is passes


def test_held_out_real_images_are_not_called_copies() -> None:
    """With 100 test images of two classes, whose floor is often 0."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        (test, generated), (test_classes, classes) = rng.uniform(0.1, 1, (2, 100)), rng.integers(0, 2, (2, 100))
        share = relative_to_test(generated, classes, test, test_classes)[1].mean()
        floor = relative_to_other_images(test, test_classes)[1].mean()
        metrics = with_floor(measured({"near_copies": float(share)}), near_copies=float(floor))
        few = {metric.name: metric.model_copy(update={"n": 100, "floor_n": 100}) for metric in metrics}
        assert not list(useless_images(few, EQUAL_SHARES))


@pytest.mark.parametrize(
    ("entropy", "num_classes", "passes"), [(0.9, 10, False), (1.1, 10, True), (0.9, 4, False), (0.0, 3, True)]
)
def test_images_of_few_classes_are_a_fault_if_real_images_are_of_more(entropy, num_classes, passes) -> None:
    metrics = measured({**GOOD, "class_entropy": entropy})
    classes = [
        ClassShare(name=name, real=1 / num_classes, generated=1 / num_classes) for name in CLASS_NAMES[:num_classes]
    ]
    assert decide(metrics, classes, (), None, (), full_n=10_000).passes is passes


@pytest.mark.parametrize(("share", "passes"), [(0.409, True), (0.411, False)])
def test_near_duplicates_may_be_forty_points_more_than_among_real_images(share, passes) -> None:
    decision = decide(measured({**GOOD, "near_duplicates": share}), EQUAL_SHARES, (), None, (), full_n=10_000)
    assert decision.passes is passes
    reason = "It repeats itself: 41 % of its images are near duplicates of others (of real images: 1 %)."
    assert (decision.reasons == (reason,)) is not passes


def test_metrics_in_which_real_images_fail_do_not_let_a_generator_pass() -> None:
    metrics = with_floor(measured({**GOOD, "precision": 0.02}), precision=0.03)
    (reason,) = decide(metrics, EQUAL_SHARES, (), None, (), full_n=10_000).reasons
    assert reason == "precision says nothing, since that of real images is 3 %: test images may be repeated."


@pytest.mark.parametrize(("share", "is_missing"), [(0.024, True), (0.026, False)])
def test_a_class_is_missing_below_a_quarter_of_its_share_of_test_images(share, is_missing) -> None:
    classes = [each.model_copy(update={"generated": share}) if each.name == "d" else each for each in EQUAL_SHARES]
    decision = decide(measured(GOOD), classes, (), None, (), full_n=10_000)
    shares = "predicted for 2.4 % of its images, and for 10 % of test images"
    reason = f"It makes hardly any images of 1 of 10 classes: d ({shares})."
    assert (decision.reasons == (reason,)) is is_missing
    assert decision.passes is not is_missing


def test_no_class_counts_as_missing_if_the_images_are_not_like_real_ones() -> None:
    classes = [each.model_copy(update={"generated": 1.0 if each.name == "d" else 0.0}) for each in EQUAL_SHARES]
    (reason,) = decide(measured({**GOOD, "precision": 0.2}), classes, (), None, (), full_n=10_000).reasons
    assert reason.startswith("Too few of its images lie among real ones")


@pytest.mark.parametrize("other", [{"n": 9000}, {"extractor": "another"}])
def test_the_best_of_other_numbers_of_images_or_features_does_not_count(other) -> None:
    champion, mine = {**GOOD, "frechet_distance": 9.0}, GOOD
    best = Quality(n=10_000, extractor="small", values={name: 0.86 for name in ("precision", "recall", "coverage")})
    for reached, passes in ((best, False), (best.model_copy(update=other), True)):
        decision = decide(
            measured(mine), EQUAL_SHARES, (), before(reached), against_champion(mine, champion), full_n=10_000
        )
        assert decision.passes is passes, decision.sentence


def with_floor(metrics: list[Metric], **floors: float) -> list[Metric]:
    return [metric.model_copy(update={"floor": floors.get(metric.name, metric.floor)}) for metric in metrics]
