"""The gate's decisions on generators with known faults."""

from pathlib import Path

import numpy as np
import pytest
from builders import small_extractor, smooth_pixels
from narrowing import not_none

from gan.data.samples import save_samples
from gan.judging.bootstrap import Difference, bootstrap_differences
from gan.judging.class_shares import ClassShare, count_classes
from gan.judging.definitions import METRICS, Metric
from gan.judging.faults import useless_images
from gan.judging.gate import GATE_METRICS, MARGIN, Decision, Incumbent, Quality, best_of, challenge_champion, decide
from gan.judging.judge import Judge
from gan.judging.metrics.memorization import relative_to_other_images, relative_to_test

N, NAN = 400, float("nan")

NAMES = tuple("abcdefghij")
EQUAL = tuple(ClassShare(name=name, real=0.1, generated=0.1) for name in NAMES)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(small_extractor(10), smooth_pixels(1000, 0), smooth_pixels(N, 1), n=N, seed=0)


def noisy(pixels: np.ndarray, amount: float, seed: int = 0) -> np.ndarray:
    """Add Gaussian noise with a standard deviation of amount grey levels."""
    noise = np.random.default_rng(seed).normal(0, amount, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def ask(
    judge: Judge, pixels: np.ndarray, champion: np.ndarray | None = None, warnings: tuple[str, ...] = ()
) -> Decision:
    found = judge.examine(pixels)
    metrics = judge.metrics(found, found)
    classes = count_classes(NAMES, judge.test.classes, found.fake.classes)
    if champion is None:
        return decide(metrics, classes, warnings, None, (), full_n=N)
    differences = bootstrap_differences(found, judge.examine(champion), judge.floor, extractor="small", seed=0)
    return decide(metrics, classes, warnings, Incumbent("the-champion", None), differences, full_n=N)


def test_the_first_good_generator_passes(judge) -> None:
    decision = ask(judge, smooth_pixels(N, 2))
    assert decision.passes
    assert decision.champion is None
    assert decision.sentence == "Passes the gate. There was no champion, and it has no fault that the gate looks for."


def test_a_better_generator_passes_with_the_numbers_in_the_reason(judge) -> None:
    decision = ask(judge, smooth_pixels(N, 2), champion=noisy(smooth_pixels(N, 3), 60))
    assert decision.passes
    assert [row.name for row in decision.differences] == list(GATE_METRICS)
    assert decision.sentence.startswith("Passes the gate against the champion the-champion. Fréchet distance ")
    assert decision.sentence.endswith(
        "precision, recall and coverage are at most 10 percentage points below the best of all champions."
    )


def test_a_worse_generator_does_not_pass_and_each_worse_metric_is_named(judge) -> None:
    decision = ask(judge, noisy(smooth_pixels(N, 2), 60), champion=smooth_pixels(N, 3))
    assert not decision.passes
    assert any(
        reason.startswith("Fréchet distance") and reason.endswith("is not better beyond noise.")
        for reason in decision.reasons
    )
    assert any(
        reason.startswith("Precision") and "is more than 10 percentage points below the champion's" in reason
        for reason in decision.reasons
    )


def test_an_equal_generator_with_other_latents_does_not_pass(judge) -> None:
    passed = [
        ask(judge, smooth_pixels(N, seed), champion=smooth_pixels(N, seed + 100)).passes for seed in range(10, 20)
    ]
    assert not any(passed)


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
        decision = decide(measured(mine), EQUAL, (), before(*reached), against_champion(mine, champion), full_n=10_000)
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
    decision = decide(measured(mine), EQUAL, (), before(best), of_few_images, full_n=10_000)
    assert decision.reasons == ("Recall 57 % is more than 2 percentage points below the best of all champions, 60 %.",)
    low = {**mine, "recall": 0.47}
    decision = decide(measured(low), EQUAL, (), before(best), against_champion(low, champion), full_n=10_000)
    assert len(decision.reasons) == 2, "it is below the champion, and below a better one before it"
    same = {**champion, "recall": 0.6}
    worse = {**mine, "recall": 0.5}
    decision = decide(measured(worse), EQUAL, (), before(best), against_champion(worse, same), full_n=10_000)
    assert len(decision.reasons) == 1, "the champion is the best of all: one fact, one sentence"
    of_few_images = [row.model_copy(update={"n": 1000}) for row in against_champion(mine, same)]
    decision = decide(measured(mine), EQUAL, (), before(best), of_few_images, full_n=10_000)
    assert not decision.passes, "the comparison has a wider margin, so it does not say that recall is too low"
    close = {**mine, "recall": 0.585}
    unrecorded = against_champion(close, {**champion, "recall": 0.6})
    decision = decide(measured(close), EQUAL, (), before(), unrecorded, full_n=10_000)
    assert decision.passes
    assert not_none(decision.quality).values["recall"] == 0.6


def test_a_generator_among_whose_images_no_real_one_lies_does_not_pass_even_without_a_champion() -> None:
    values = {"frechet_distance": 5.0, "precision": 0.8, "recall": 0.0, "coverage": 0.9}
    decision = decide(measured(values), EQUAL, (), None, (), full_n=10_000)
    assert decision.reasons == ("No real image lies among its images: its recall is 0 %.",)


@pytest.mark.parametrize(("n", "floor", "limit"), [(10_000, 0.08, 16.0), (1000, 0.8, 16.7), (100, 8.0, 23.9)])
def test_the_limit_on_the_distance_allows_for_the_floor_of_few_images_only(n, floor, limit) -> None:
    for distance, passes in ((limit - 0.1, True), (limit + 0.1, False)):
        metrics = with_floor(measured({**GOOD, "frechet_distance": distance}), frechet_distance=floor)
        few = [metric.model_copy(update={"n": n}) for metric in metrics]
        assert decide(few, EQUAL, (), None, (), full_n=n).passes is passes, distance


def test_values_above_those_of_real_images_are_not_required_of_later_champions() -> None:
    values = {"frechet_distance": 5.0, "precision": 0.95, "recall": 0.6, "coverage": 0.9}
    quality = not_none(decide(measured(values), EQUAL, (), None, (), full_n=10_000).quality)
    assert quality.values == {"precision": 0.86, "recall": 0.6, "coverage": 0.9}


GOOD = {"frechet_distance": 5.0, "precision": 0.8, "recall": 0.6, "coverage": 0.85}


@pytest.mark.parametrize(("share", "passes"), [(0.064, True), (0.066, False)])
def test_near_copies_may_be_five_points_more_than_of_real_images(share, passes) -> None:
    metrics = with_floor(measured({**GOOD, "near_copies": share}), near_copies=0.015)
    assert decide(metrics, EQUAL, (), None, (), full_n=10_000).passes is passes


@pytest.mark.parametrize(("share", "passes"), [(0.13, True), (0.14, False)])
def test_near_copies_of_few_images_may_be_three_standard_errors_more(share, passes) -> None:
    """Of 100 generated and 100 real images, 15 of 200: 3 sqrt(0.075 * 0.925 (1 / 100 + 1 / 100)) = 0.112."""
    metrics = with_floor(measured({**GOOD, "near_copies": share}), near_copies=0.02, frechet_distance=8.0)
    few = [metric.model_copy(update={"n": 100, "floor_n": 100}) for metric in metrics]
    assert decide(few, EQUAL, (), None, (), full_n=100).passes is passes


def test_held_out_real_images_are_not_called_copies() -> None:
    """With 100 test images of two classes, whose floor is often 0."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        (test, generated), (test_classes, classes) = rng.uniform(0.1, 1, (2, 100)), rng.integers(0, 2, (2, 100))
        share = relative_to_test(generated, classes, test, test_classes)[1].mean()
        floor = relative_to_other_images(test, test_classes)[1].mean()
        metrics = with_floor(measured({"near_copies": float(share)}), near_copies=float(floor))
        few = {metric.name: metric.model_copy(update={"n": 100, "floor_n": 100}) for metric in metrics}
        assert not list(useless_images(few, EQUAL))


@pytest.mark.parametrize(
    ("entropy", "num_classes", "passes"), [(0.9, 10, False), (1.1, 10, True), (0.9, 4, False), (0.0, 3, True)]
)
def test_images_of_few_classes_are_a_fault_if_real_images_are_of_more(entropy, num_classes, passes) -> None:
    metrics = measured({**GOOD, "class_entropy": entropy})
    classes = [ClassShare(name=name, real=1 / num_classes, generated=1 / num_classes) for name in NAMES[:num_classes]]
    assert decide(metrics, classes, (), None, (), full_n=10_000).passes is passes


@pytest.mark.parametrize(("share", "passes"), [(0.409, True), (0.411, False)])
def test_near_duplicates_may_be_forty_points_more_than_among_real_images(share, passes) -> None:
    decision = decide(measured({**GOOD, "near_duplicates": share}), EQUAL, (), None, (), full_n=10_000)
    assert decision.passes is passes
    reason = "It repeats itself: 41 % of its images are near duplicates of others (of real images: 1 %)."
    assert (decision.reasons == (reason,)) is not passes


def test_metrics_in_which_real_images_fail_do_not_let_a_generator_pass() -> None:
    metrics = with_floor(measured({**GOOD, "precision": 0.02}), precision=0.03)
    (reason,) = decide(metrics, EQUAL, (), None, (), full_n=10_000).reasons
    assert reason == "precision says nothing, since that of real images is 3 %: test images may be repeated."


@pytest.mark.parametrize(("share", "is_missing"), [(0.024, True), (0.026, False)])
def test_a_class_is_missing_below_a_quarter_of_its_share_of_test_images(share, is_missing) -> None:
    classes = [each.model_copy(update={"generated": share}) if each.name == "d" else each for each in EQUAL]
    decision = decide(measured(GOOD), classes, (), None, (), full_n=10_000)
    shares = "predicted for 2.4 % of its images, and for 10 % of test images"
    reason = f"It makes hardly any images of 1 of 10 classes: d ({shares})."
    assert (decision.reasons == (reason,)) is is_missing
    assert decision.passes is not is_missing


def test_no_class_counts_as_missing_if_the_images_are_not_like_real_ones() -> None:
    classes = [each.model_copy(update={"generated": 1.0 if each.name == "d" else 0.0}) for each in EQUAL]
    (reason,) = decide(measured({**GOOD, "precision": 0.2}), classes, (), None, (), full_n=10_000).reasons
    assert reason.startswith("Too few of its images lie among real ones")


@pytest.mark.parametrize("other", [{"n": 9000}, {"extractor": "another"}])
def test_the_best_of_other_numbers_of_images_or_features_does_not_count(other) -> None:
    champion, mine = {**GOOD, "frechet_distance": 9.0}, GOOD
    best = Quality(n=10_000, extractor="small", values={name: 0.86 for name in ("precision", "recall", "coverage")})
    for reached, passes in ((best, False), (best.model_copy(update=other), True)):
        decision = decide(measured(mine), EQUAL, (), before(reached), against_champion(mine, champion), full_n=10_000)
        assert decision.passes is passes, decision.sentence


def with_floor(metrics: list[Metric], **floors: float) -> list[Metric]:
    return [metric.model_copy(update={"floor": floors.get(metric.name, metric.floor)}) for metric in metrics]


@pytest.mark.parametrize("num_images", [1, 10])
def test_a_collapsed_generator_does_not_pass_even_without_a_champion(judge, num_images) -> None:
    decision = ask(judge, np.repeat(smooth_pixels(num_images, 2), N // num_images, axis=0))
    assert not decision.passes
    expected = ("It generates only a few different images", "It generates too few")
    assert any(reason.startswith(expected) for reason in decision.reasons)


@pytest.mark.parametrize(
    ("share_of_noise", "reasons"),
    [
        (0.9, ("Too few of its images lie among real ones: its precision is",)),
        (
            1,
            (
                "It is too far from real images: its Fréchet distance is",
                "Too few of its images",
                "It generates too few",
            ),
        ),
    ],
)
def test_noise_with_a_few_good_images_does_not_pass_even_without_a_champion(judge, share_of_noise, reasons) -> None:
    pixels = smooth_pixels(N, 2)
    num = int(share_of_noise * N)
    pixels[:num] = np.random.default_rng(0).integers(0, 256, (num, 28, 28), dtype=np.uint8)
    decision = ask(judge, pixels)
    for reason in reasons:
        assert any(given.startswith(reason) for given in decision.reasons), decision.reasons


def test_real_images_beat_too_typical_ones(judge) -> None:
    """The typical images are those nearest to the mean: more precise than real images, but less diverse."""
    pixels = smooth_pixels(3 * N, 5)
    from_mean = np.square(pixels - pixels.mean(axis=0)).sum(axis=(1, 2))
    typical = pixels[np.argsort(from_mean)[:N]]
    examined = judge.examine(typical)
    precision = {metric.name: metric for metric in judge.metrics(examined, examined)}["precision"]
    assert precision.value > precision.floor
    decision = ask(judge, smooth_pixels(N, 2), champion=typical)
    assert decision.passes, decision.sentence


def test_a_copying_generator_does_not_pass_even_if_it_is_better(judge) -> None:
    copies = smooth_pixels(1000, 0)[:N]
    decision = ask(judge, copies, champion=noisy(smooth_pixels(N, 3), 60))
    assert not decision.passes
    assert decision.reasons == (
        "It copies training images: 100 % of its images are near copies (of test images: "
        f"{decision.reasons[0].partition('test images: ')[2]}",
    )


def test_a_generator_with_signs_of_collapse_in_training_does_not_pass(judge) -> None:
    decision = ask(judge, smooth_pixels(N, 2), warnings=("Mode collapse after 500 steps.",))
    assert decision.reasons == ("Its training showed signs of collapse: Mode collapse after 500 steps.",)


@pytest.mark.parametrize("number", ["average", "floor"])
@pytest.mark.parametrize("name", [definition.name for definition in METRICS])
def test_a_generator_with_an_undefined_metric_does_not_pass_and_the_reason_is_given(judge, name, number) -> None:
    found = judge.examine(smooth_pixels(N, 2))
    metrics = {metric.name: metric for metric in judge.metrics(found, found)}
    undefined = {number: None, "undefined": {number: "all images are equal"}}
    metrics[name] = Metric.model_validate(metrics[name].model_dump() | undefined)
    decision = decide(list(metrics.values()), EQUAL, (), None, (), full_n=N)
    assert decision.reasons == (f"{metrics[name].title} is not defined: all images are equal.",)


def test_a_generator_with_metrics_that_are_not_finite_does_not_pass(judge) -> None:
    found = judge.examine(smooth_pixels(N, 2))
    metrics = [metric.model_copy(update={"average": NAN}) for metric in judge.metrics(found, found)]
    assert len(decide(metrics, EQUAL, (), None, (), full_n=N).reasons) == len(METRICS)


def test_a_generator_that_cannot_be_compared_with_the_champion_does_not_pass(judge) -> None:
    found = judge.examine(smooth_pixels(N, 2))
    obstacle = "It cannot be compared with the champion."
    decision = decide(judge.metrics(found, found), EQUAL, (), Incumbent("gone", None, obstacle), (), full_n=N)
    assert not decision.passes
    assert (
        decision.sentence
        == "Does not pass the gate against the champion gone. It cannot be compared with the champion."
    )


def test_a_generator_with_missing_or_undefined_comparisons_does_not_pass(judge) -> None:
    good = judge.examine(smooth_pixels(N, 2))
    worse = judge.examine(noisy(smooth_pixels(N, 3), 60))
    differences = bootstrap_differences(good, worse, judge.floor, extractor="small", seed=0)
    no_interval = {"low": None, "high": None, "undefined": dict.fromkeys(("low", "high"), "all images are equal")}
    unknown = [row.model_copy(update=no_interval) if row.name == "recall" else row for row in differences]
    without = [row for row in differences if row.name != "recall"]
    incomplete = "It could not be compared with the champion in every metric of the gate."
    undefined = "Recall could not be compared with the champion: it is not defined, since all images are equal."
    for given, reason in (((), incomplete), (without, incomplete), (unknown, undefined)):
        decision = decide(judge.metrics(good, good), EQUAL, (), Incumbent("the-champion", None), given, full_n=N)
        assert not decision.passes
        assert decision.reasons[0] == reason


def test_a_run_that_was_judged_on_few_images_does_not_pass(judge) -> None:
    found = judge.examine(smooth_pixels(N, 2))
    decision = decide(judge.metrics(found, found), EQUAL, (), None, (), full_n=10_000)
    assert decision.reasons == ("It was judged on 400 images; a champion needs 10,000 (--num-samples).",)


def test_the_verdict_of_a_difference_without_an_interval_is_not_defined() -> None:
    row = Difference(
        name="x", title="x", better="lower", this=1, other=2, n=3, extractor="x", difference=-1, low=NAN, high=NAN
    )
    assert (row.low, row.high, row.verdict) == (None, None, "not defined")


@pytest.mark.parametrize("same_as_reference", [False, True])
def test_the_pipeline_compares_the_averaged_weights_of_the_run_with_those_of_the_champion(
    judge, store, same_as_reference
) -> None:
    """The comparison of the last weights of both would give the opposite decision."""
    better, worse = smooth_pixels(N, 2), noisy(smooth_pixels(N, 3), 60)

    def stored(pixels: np.ndarray) -> Path:
        return store.path(store.put_file(lambda path: save_samples(pixels, path), ".npz"))

    for average, of_champion, passes in ((better, worse, True), (worse, better, False)):
        metrics = judge.metrics(judge.examine(of_champion), judge.examine(average))
        champion_samples = stored(of_champion)
        champion = Incumbent("before", champion_samples)
        known = bootstrap_differences(
            judge.examine(average), judge.examine(of_champion), judge.floor, extractor="small", seed=0
        )
        reference = {champion_samples: known} if same_as_reference else {stored(average): ()}
        decision = challenge_champion(judge, average, metrics, EQUAL, (), champion, reference, seed=0)
        assert (decision.passes, decision.champion) == (passes, "before")
        assert [row.name for row in decision.differences] == list(GATE_METRICS)
