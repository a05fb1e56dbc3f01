"""Whether one generator is better than another, or only looks so: differences of metrics with their intervals."""

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np
from pydantic import Field

from gan.judging.definitions import METRICS, Better, Definition
from gan.judging.evidence import Evidence
from gan.judging.measured import MeasuredNumbers, Number, is_defined, reasoned
from gan.judging.mutual import judged_anew

RESAMPLES = 200
PARTS = 10
CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / (2 * len(METRICS))
"""Bonferroni: that of thirteen intervals any leaves out the truth is as unlikely as it is of one 95 % interval."""

NORMAL_QUANTILE = NormalDist().inv_cdf(1 - TAIL)  # 2.89
STUDENT_QUANTILE = 3.8602  # of Student's t with PARTS - 1 degrees of freedom, at 1 - TAIL

Verdict = Literal["better", "worse", "no difference beyond noise", "not defined"]


class Difference(MeasuredNumbers):
    """One metric of two generators, judged against the same test images; None, with a reason, where not defined."""

    name: str
    title: str
    better: Better
    this: Number = Field(description="the metric of this run")
    other: Number = Field(description="the metric of the reference")
    n: int = Field(description="images on each side")
    extractor: str = Field(description="the features that it is computed on")
    difference: Number = Field(description="this - other; of the distances from the real value where that is best")
    low: Number = Field(description="lower end of the interval of the difference; all metrics' hold together at 95 %")
    high: Number = Field(description="upper end")

    @property
    def verdict(self) -> Verdict:
        """Noise unless the interval leaves out zero; not defined without an interval."""
        if not is_defined(self.low) or not is_defined(self.high):
            return "not defined"
        if not (self.low > 0 or self.high < 0):
            return "no difference beyond noise"
        rises = self.low > 0
        return "better" if rises == (self.better == "higher") else "worse"

    @property
    def is_from_real(self) -> bool:
        """Whether the difference is one of distances from the real value."""
        return self.better in ("as real", "no more than real")


def bootstrap_differences(
    this: Evidence, other: Evidence, floor: Evidence, *, extractor: str, seed: int
) -> tuple[Difference, ...]:
    """Every metric's difference with its interval; all thirteen intervals hold together at 95 % (Bonferroni).

        difference +- quantile * standard error

    Both generators are judged by the same test images, and the i-th image of one goes together with the i-th of the
    other (of the same latents, if both were drawn with one seed): what both share is no noise of the difference.

    The standard error is that of a bootstrap over the images (Efron and Tibshirani 1993, chapter 6; 200 resamples).
    Where images judge each other (`mutual`: balls, classifiers) a bootstrap, which keeps the judgements, leaves out the
    noise of the judges. These metrics are also found anew in ten disjoint tenths of the images; the spread of the ten
    differences over the root of ten is the standard error of their mean (batch means; Politis, Romano and Wolf 1999 for
    subsampling at large). The larger of both counts, for a tenth can be so small that all its images cover each other,
    with Student's quantile.

    A metric that is not defined for either run, or for any resample or part of their images, has no interval.

    They are intervals of the chance in drawing images, for these two trainings. Another seed of the same recipe may
    differ by more (docs/judging.md has figures).

    Args:
        this: Of a `Judge`.
        other: Of the same Judge.
        floor: Its floor: the real value, where that is best.
        extractor: Name of the judge's features.
        seed: Seeds resamples and folds.
    """
    real = {metric.name: metric.measure(floor) for metric in METRICS}
    errors = _resampled(this, other, real, seed)
    for name, error in _part_by_part(this, other, real, seed).items():
        errors[name] = float(np.maximum(errors[name], error))  # NaN stays: not defined in some of the parts
    differences = []
    for metric in METRICS:
        difference = _difference(metric, this, other, real)
        margin = (STUDENT_QUANTILE if metric.mutual else NORMAL_QUANTILE) * errors[metric.name]
        differences.append(
            Difference(
                name=metric.name,
                title=metric.title,
                better=metric.better,
                n=len(this.fake.features),
                extractor=metric.features or extractor,
                **reasoned(
                    metric.undefined,
                    this=metric.measure(this),
                    other=metric.measure(other),
                    difference=difference,
                    low=difference - margin,
                    high=difference + margin,
                ),
            )
        )
    return tuple(differences)


def _resampled(this: Evidence, other: Evidence, real: Mapping[str, float], seed: int) -> dict[str, float]:
    """Standard errors by a bootstrap."""
    rng = np.random.default_rng(seed)
    num_real, num_fake = len(this.real.features), len(this.fake.features)
    rows = []
    for _ in range(RESAMPLES):
        chosen = rng.integers(num_real, size=num_real), rng.integers(num_fake, size=num_fake)
        rows.append(_differences(METRICS, this.take(*chosen), other.take(*chosen), real))
    return _by_name(METRICS, np.std(rows, axis=0, ddof=1))


def _part_by_part(this: Evidence, other: Evidence, real: Mapping[str, float], seed: int) -> dict[str, float]:
    """Standard errors by disjoint parts."""
    metrics = [metric for metric in METRICS if metric.mutual]
    rows = []
    for part in range(PARTS):
        mine, theirs = (judged_anew(each, slice(part, None, PARTS), seed=seed) for each in (this, other))
        rows.append(_differences(metrics, mine, theirs, real))
    return _by_name(metrics, np.std(rows, axis=0, ddof=1) / np.sqrt(PARTS))


def _by_name(metrics: Sequence[Definition], errors: np.ndarray) -> dict[str, float]:
    return {metric.name: float(error) for metric, error in zip(metrics, errors, strict=True)}


def _differences(
    metrics: Sequence[Definition], this: Evidence, other: Evidence, real: Mapping[str, float]
) -> list[float]:
    return [_difference(metric, this, other, real) for metric in metrics]


def _difference(metric: Definition, this: Evidence, other: Evidence, real: Mapping[str, float]) -> float:
    mine, theirs = (metric.cost(metric.measure(each), real[metric.name]) for each in (this, other))
    return mine - theirs
