"""The gate: the rules by which a generator may become the champion, the published generator that users get by default.

The gate examines the averaged weights. A generator passes under these conditions:

- It is judged on FULL_N images, or on as many as the test split has if that is fewer.
- All its metrics are defined.
- Its training showed no sign of collapse.
- The entropy of its predicted classes is at least one bit, if that of test images is at least two.
- It does not copy: its share of near copies is at most a margin above that of test images.
- It does not repeat itself: its share of near duplicates is at most a wide margin above that of real images.
- Its Fréchet distance, precision and coverage are within limits relative to the floor.
- Its recall is above 0, and it leaves out no class.
- Precision and coverage of real images are at least MIN_FLOOR, so that those of a generator mean something.
- If there is a champion, a comparison with it is possible.
- If there is a champion, its Fréchet distance is significantly better than the champion's.
- If there is a champion, each of MUST_NOT_WORSEN is at most a margin below the champion's value, and below the best
  value of all champions that were not rolled back.

Significance refers to the random choice of images (`gan.judging.bootstrap`), not to the random seed of the training.
The margin is fixed, because intervals that only include "no change" would let each champion be a little worse than the
one before.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
from pydantic import BaseModel, Field

from gan.data.samples import load_samples
from gan.formatting import describe_number, describe_share
from gan.judging.bootstrap import Difference, bootstrap_differences
from gan.judging.class_shares import ClassShare
from gan.judging.definitions import Metric
from gan.judging.faults import FULL_N, far_from_real, fatal_faults, useless_metrics
from gan.judging.judge import Judge
from gan.judging.measured import Measured, is_defined

MUST_IMPROVE = "frechet_distance"
MUST_NOT_WORSEN = ("precision", "recall", "coverage")
"""Neither quality at the cost of diversity nor diversity at the cost of quality is an improvement. Values count only up
to those of real images, which are not improved by images that are more typical."""

GATE_METRICS = (MUST_IMPROVE, *MUST_NOT_WORSEN)

MARGIN = 0.02
"""How much lower a value of MUST_NOT_WORSEN may be, for FULL_N images. It is three to four standard errors of a
difference there; for fewer images it grows like the errors."""

ON_FEW_IMAGES = "It was judged on"
"""How the reason begins of a run that was judged on too few images."""


class Quality(BaseModel, frozen=True, extra="forbid"):
    """The values of MUST_NOT_WORSEN that averaged weights reach; comparable for equal n and features only."""

    n: int
    extractor: str
    values: dict[str, Measured]


class Decision(BaseModel, frozen=True, extra="forbid"):
    """The result of the gate, with its reasons."""

    passes: bool
    champion: str | None = Field(description="name of the run that was the champion then")
    reasons: tuple[str, ...] = Field(description="a sentence each: every failed check, or why the generator passes")
    differences: tuple[Difference, ...] = Field((), description="the gate's metrics against the champion")
    quality: Quality | None = Field(None, description="what later champions must reach, if this run is promoted")

    @property
    def sentence(self) -> str:
        """The decision and its reasons as text."""
        against = f" against the champion {self.champion}" if self.champion else ""
        return f"{'Passes' if self.passes else 'Does not pass'} the gate{against}. {' '.join(self.reasons)}"


@dataclass(frozen=True)
class Incumbent:
    """The champion, as far as a new run can be compared with it."""

    name: str
    average_samples: Path | None  # .npz, samples of the averaged weights
    obstacle: str = ""  # why a comparison is impossible; empty if it is possible
    reached: Sequence[Quality] = ()  # best values of all champions that were not rolled back, for each n and extractor


def challenge_champion(
    judge: Judge,
    average_pixels: np.ndarray,
    metrics: Sequence[Metric],
    classes: Sequence[ClassShare],
    warnings: Sequence[str],
    champion: Incumbent | None,
    known: Mapping[Path, Sequence[Difference]],
    *,
    seed: int,
) -> Decision:
    """Compare the averaged generator with the champion, and decide whether it may become the champion.

    Args:
        judge: Judge of n images.
        average_pixels: uint8, shape (k, 28, 28), k >= n: samples of the averaged generator.
        metrics: The metrics of the run.
        classes: How often each class is predicted.
        warnings: Signs of collapse in its training.
        champion: The present champion; None if there is none.
        known: Differences that are already computed, by the path of the other run's samples.
        seed: Seeds the bootstrap.
    """
    samples = champion and champion.average_samples
    differences = known.get(samples, ()) if samples else ()
    if samples and not differences:
        champion_pixels = load_samples(samples)
        both = judge.with_n(min(judge.n, len(champion_pixels)))
        differences = bootstrap_differences(
            both.examine(average_pixels),
            both.examine(champion_pixels),
            both.floor,
            extractor=both.extractor.name,
            seed=seed,
        )
    return decide(metrics, classes, warnings, champion, differences, full_n=min(FULL_N, judge.num_test))


def decide(
    metrics: Sequence[Metric],
    classes: Sequence[ClassShare],
    warnings: Sequence[str],
    champion: Incumbent | None,
    differences: Sequence[Difference],
    *,
    full_n: int,
) -> Decision:
    """Decide whether a generator may become the champion.

    Args:
        metrics: All metrics of the generator; the values of its averaged weights are checked.
        classes: How often each class is predicted.
        warnings: Signs of collapse in its training.
        champion: The present champion; None if there is none.
        differences: Every metric's difference from the champion, for averaged weights; empty if the generator cannot
            be compared with it.
        full_n: Images that a champion must be judged on. With fewer, a decline may be hidden by noise, in this
            champion and again in each of its successors.
    """
    by_name = {metric.name: metric for metric in metrics}
    n = metrics[0].n
    obstacle = champion.obstacle if champion else ""
    failures = [f"{ON_FEW_IMAGES} {n:,} images; a champion needs {full_n:,} (--num-samples)."] if n < full_n else []
    failures += [
        *fatal_faults(by_name, classes, warnings),
        *far_from_real(by_name, classes),
        *useless_metrics(by_name),
        *([obstacle] if obstacle else []),
    ]
    compared = tuple(row for name in GATE_METRICS for row in differences if row.name == name)
    quality = quality_of(metrics)
    if champion and not obstacle:
        failures += _failed_comparisons(compared)
        failures += _below_the_best(quality, champion.reached, compared)
    passed = "There was no champion, and it has no fault that the gate looks for."
    if compared:
        passed = (
            f"{_describe(compared[0])} is better beyond noise, and precision, recall and coverage are at most "
            f"{_points(margin(compared[0].n))} below the best of all champions."
        )
    return Decision(
        passes=not failures,
        champion=champion and champion.name,
        reasons=tuple(failures or [passed]),
        differences=compared,
        quality=_with_champion(quality, compared),
    )


def _failed_comparisons(compared: Sequence[Difference]) -> Iterator[str]:
    if len(compared) < len(GATE_METRICS):
        yield "It could not be compared with the champion in every metric of the gate."
    for row in compared:
        if row.verdict == "not defined":
            yield f"{row.title} could not be compared with the champion: it is not defined, since {row.why}."
        elif row.name == MUST_IMPROVE:
            if row.verdict != "better":
                yield f"{_describe(row)} is not better beyond noise."
        elif _is_lower(row):
            yield (
                f"{row.title} {row.describe(row.this)} is more than {_points(margin(row.n))} below the "
                f"champion's, {row.describe(row.other)}."
            )


def _is_lower(row: Difference) -> bool:
    """Return whether a value is lower than the champion's by more than the margin."""
    return is_defined(row.this) and is_defined(row.other) and row.this < row.other - margin(row.n)


def _below_the_best(
    quality: Quality | None, reached: Sequence[Quality], compared: Sequence[Difference]
) -> Iterator[str]:
    if quality is None:
        return
    lower = {
        row.name: row.other or 0.0
        for row in compared
        if (row.n, row.extractor) == (quality.n, quality.extractor) and _is_lower(row)
    }
    for best in reached:
        if (quality.n, quality.extractor) == (best.n, best.extractor):
            for name, value in quality.values.items():
                is_said = name in lower and best.values.get(name, 0.0) <= lower[name]  # by the comparison
                if value < best.values.get(name, 0.0) - margin(quality.n) and not is_said:
                    yield (
                        f"{name.capitalize()} {describe_share(value, 3)} is more than "
                        f"{_points(margin(quality.n))} below the best of all champions, "
                        f"{describe_share(best.values[name], 3)}."
                    )


def _with_champion(quality: Quality | None, compared: Sequence[Difference]) -> Quality | None:
    """Raise values to those of the champion, which may be from a version that did not record what it had reached."""
    if quality is None:
        return None
    comparable = {row.name: row.other for row in compared if (row.n, row.extractor) == (quality.n, quality.extractor)}
    values = {name: max(value, comparable.get(name) or 0.0) for name, value in quality.values.items()}
    return quality.model_copy(update={"values": values})


def margin(n: int) -> float:
    """Return how much lower than the best value of all champions a value of n images may be."""
    return MARGIN * sqrt(FULL_N / n)


def best_of(found: Iterable[Quality]) -> tuple[Quality, ...]:
    """Return the best values for each number of images and features."""
    best: dict[tuple[int, str], Quality] = {}
    for quality in found:
        key = quality.n, quality.extractor
        known = best[key].values if key in best else {}
        values = {name: max(value, known.get(name, 0.0)) for name, value in quality.values.items()}
        best[key] = quality.model_copy(update={"values": values})
    return tuple(best.values())


def quality_of(metrics: Sequence[Metric]) -> Quality | None:
    """Return what a champion with these metrics has reached; None if a value is not defined."""
    values = {}
    for metric in metrics:
        if metric.name in MUST_NOT_WORSEN:
            if not is_defined(metric.average) or not is_defined(metric.floor):
                return None
            values[metric.name] = min(metric.average, metric.floor)
            n, extractor = metric.n, metric.extractor
    return Quality(n=n, extractor=extractor, values=values) if values else None


def _points(share: float) -> str:
    return f"{describe_number(100 * share, 2)} percentage points"


def _describe(row: Difference) -> str:
    return (
        f"{row.title} {row.describe(row.this)} against {row.describe(row.other)} (difference {row.change}, interval "
        f"{row.interval})"
    )
