"""Confidence intervals for the differences of two generators' metrics."""

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np
from pydantic import Field

from gan.formatting import describe_change, describe_interval
from gan.judging.definitions import COMPARED_AS, METRICS, SHARES, Better, Definition, describe_metric
from gan.judging.image_statistics import ImageStatistics
from gan.judging.measured import MeasuredNumbers, Number, is_defined, replace_undefined
from gan.system.threads import map_in_threads

RESAMPLES = 200
BATCHES = 10
CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / (2 * len(METRICS))
"""Tail of an interval with the Bonferroni correction: all intervals together have a confidence of CONFIDENCE."""

NORMAL_QUANTILE = NormalDist().inv_cdf(1 - TAIL)  # 2.91
STUDENT_QUANTILE = 3.9088  # of Student's t with BATCHES - 1 degrees of freedom, at 1 - TAIL

Verdict = Literal["better", "worse", "no difference beyond noise", "not defined"]


class Difference(MeasuredNumbers):
    """The difference of one metric between two generators that are compared with the same test images."""

    name: str
    title: str
    better: Better
    this: Number = Field(description="the compared quantity of this run")
    other: Number = Field(description="the compared quantity of the reference")
    n: int = Field(description="images on each side")
    extractor: str = Field(description="name of the features that the metric is computed on")
    difference: Number = Field(description="this - other")
    low: Number = Field(description="lower end of the interval; the intervals of all metrics are simultaneous, at 95 %")
    high: Number = Field(description="upper end of the interval")

    @property
    def heading(self) -> str:
        """The title, and what is compared if that is not the metric itself."""
        return self.title + COMPARED_AS[self.better]

    def describe(self, value: float | None) -> str:
        """Format a value of the compared quantity."""
        return describe_metric(self.name, value)

    @property
    def change(self) -> str:
        """The difference as text."""
        return describe_change(self.difference, is_share=self.name in SHARES)

    @property
    def interval(self) -> str:
        """The interval as text."""
        return describe_interval(self.low, self.high, is_share=self.name in SHARES)

    @property
    def verdict(self) -> Verdict:
        """Whether the interval excludes zero, and on which side; "not defined" without an interval."""
        if not is_defined(self.low) or not is_defined(self.high):
            return "not defined"
        if not (self.low > 0 or self.high < 0):
            return "no difference beyond noise"
        rises = self.low > 0
        return "better" if rises == (self.better in ("up to real", "higher")) else "worse"


def bootstrap_differences(
    this: ImageStatistics, other: ImageStatistics, floor: ImageStatistics, *, extractor: str, seed: int
) -> tuple[Difference, ...]:
    """Return the difference of every metric with its interval.

        difference +- quantile * standard error

    The intervals are simultaneous: all of them are meant to cover their true differences with a probability of at least
    95 % (Bonferroni). Some standard errors are too small (docs/judging.md has figures).

    Both generators are compared with the same test images, and the i-th images of both are resampled together. If they
    are generated from the same latents, the variance that they share cancels in the difference.

    The standard error is that of a bootstrap over images (Efron and Tibshirani 1993, chapter 6; 200 resamples).

    Some statistics of an image depend on all images together, and a resample does not recompute them. For precision,
    recall, density and coverage the influence of each image on those of the other side is resampled too
    (`gan.judging.image_statistics`), with the balls of the other images as they are; for near duplicates, its influence
    on the other images of its side. For the two-sample classifier the
    standard error is also estimated by batch means (Politis, Romano and Wolf 1999): a classifier is fitted within each
    of ten disjoint tenths of the images, and the standard deviation of the ten differences is divided by the square
    root of ten. The larger of the two estimates is used, with the quantile of Student's t.

    A metric that is not defined for either run, or for any resample or batch, has no interval.

    The intervals cover the random choice of images for two given trainings. Another seed of the same recipe may differ
    by more (docs/judging.md has figures).

    Args:
        this: Statistics of this run's images.
        other: Statistics of the reference's images, from the same `Judge`.
        floor: The floor of that judge, which gives the real value of each metric.
        extractor: Name of the judge's features.
        seed: Seeds resamples and folds.
    """
    real = {metric.name: metric.measure(floor) for metric in METRICS}
    margins = _margins(this, other, real, seed)
    return tuple(
        Difference(
            name=metric.name,
            title=metric.title,
            better=metric.better,
            n=len(this.fake.features),
            extractor=metric.features or extractor,
            **replace_undefined(
                metric.undefined,
                this=mine,
                other=theirs,
                difference=mine - theirs,
                low=mine - theirs - margin,
                high=mine - theirs + margin,
            ),
        )
        for metric, mine, theirs, margin in zip(METRICS, *_compared(METRICS, this, other, real), margins, strict=True)
    )


def _margins(this: ImageStatistics, other: ImageStatistics, real: Mapping[str, float], seed: int) -> np.ndarray:
    rng, num_real, num_fake = np.random.default_rng(seed), len(this.real.features), len(this.fake.features)
    resamples = [
        (rng.integers(num_real, size=num_real), rng.integers(num_fake, size=num_fake)) for _ in range(RESAMPLES)
    ]

    def differences_of(chosen: tuple[np.ndarray, np.ndarray]) -> list[float]:
        return _differences(METRICS, this.take(*chosen), other.take(*chosen), real)

    rows = list(map_in_threads(differences_of, resamples))
    errors = np.std(rows, axis=0, ddof=1)
    by_classifier = np.array([metric.by_classifier for metric in METRICS])
    recomputed = [metric for metric in METRICS if metric.by_classifier]
    parts = (slice(batch, None, BATCHES) for batch in range(BATCHES))
    batch_rows = [
        _differences(recomputed, this.classify_again(part, seed=seed), other.classify_again(part, seed=seed), real)
        for part in parts
    ]
    by_batches = np.std(batch_rows, axis=0, ddof=1) / np.sqrt(BATCHES)
    errors[by_classifier] = np.maximum(errors[by_classifier], by_batches)
    margins: np.ndarray = np.where(by_classifier, STUDENT_QUANTILE, NORMAL_QUANTILE) * errors
    return margins


def _differences(
    metrics: Sequence[Definition], this: ImageStatistics, other: ImageStatistics, real: Mapping[str, float]
) -> list[float]:
    return [mine - theirs for mine, theirs in zip(*_compared(metrics, this, other, real), strict=True)]


def _compared(
    metrics: Sequence[Definition], this: ImageStatistics, other: ImageStatistics, real: Mapping[str, float]
) -> list[list[float]]:
    """Return the compared quantity of each metric, for one generator and the other."""
    return [[metric.compared(metric.measure(each), real[metric.name]) for metric in metrics] for each in (this, other)]
