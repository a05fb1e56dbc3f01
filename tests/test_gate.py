"""The gate's decisions on images of generators with known faults. `test_gate_limits.py` has those on given numbers."""

from pathlib import Path

import numpy as np
import pytest
from builders import CLASS_NAMES, EQUAL_SHARES, small_extractor, smooth_pixels

from gan.data.samples import save_samples
from gan.judging.bootstrap import Difference, bootstrap_differences
from gan.judging.class_shares import count_classes
from gan.judging.definitions import METRICS, Metric
from gan.judging.gate import GATE_METRICS, Decision, Incumbent, challenge_champion, decide
from gan.judging.judge import Judge

N, NAN = 400, float("nan")


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
    classes = count_classes(CLASS_NAMES, judge.test.classes, found.fake.classes)
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
    decision = decide(list(metrics.values()), EQUAL_SHARES, (), None, (), full_n=N)
    assert decision.reasons == (f"{metrics[name].title} is not defined: all images are equal.",)


def test_a_generator_with_metrics_that_are_not_finite_does_not_pass(judge) -> None:
    found = judge.examine(smooth_pixels(N, 2))
    metrics = [metric.model_copy(update={"average": NAN}) for metric in judge.metrics(found, found)]
    assert len(decide(metrics, EQUAL_SHARES, (), None, (), full_n=N).reasons) == len(METRICS)


def test_a_generator_that_cannot_be_compared_with_the_champion_does_not_pass(judge) -> None:
    found = judge.examine(smooth_pixels(N, 2))
    obstacle = "It cannot be compared with the champion."
    decision = decide(judge.metrics(found, found), EQUAL_SHARES, (), Incumbent("gone", None, obstacle), (), full_n=N)
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
        decision = decide(judge.metrics(good, good), EQUAL_SHARES, (), Incumbent("the-champion", None), given, full_n=N)
        assert not decision.passes
        assert decision.reasons[0] == reason


def test_a_run_that_was_judged_on_few_images_does_not_pass(judge) -> None:
    found = judge.examine(smooth_pixels(N, 2))
    decision = decide(judge.metrics(found, found), EQUAL_SHARES, (), None, (), full_n=10_000)
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
        decision = challenge_champion(judge, average, metrics, EQUAL_SHARES, (), champion, reference, seed=0)
        assert (decision.passes, decision.champion) == (passes, "before")
        assert [row.name for row in decision.differences] == list(GATE_METRICS)
