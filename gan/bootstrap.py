"""Whether one generator is better than another, or only looks so: differences of metrics with their intervals."""

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from gan.judging.definitions import METRICS, Better
from gan.judging.evidence import Evidence

RESAMPLES = 200
CONFIDENCE = 0.95

Verdict = Literal["better", "worse", "no difference beyond noise"]


class Difference(BaseModel):
    """One metric of two generators, judged against the same test images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    better: Better
    this: float = Field(description="the metric of this run")
    other: float = Field(description="the metric of the reference")
    difference: float = Field(description="this - other; of the distances from the real value where that is best")
    low: float = Field(description="lower end of the 95 % interval of the difference")
    high: float = Field(description="upper end")

    @property
    def verdict(self) -> Verdict:
        """Noise unless the interval leaves out zero."""
        if self.low <= 0 <= self.high:
            return "no difference beyond noise"
        rises = self.low > 0
        return "better" if rises == (self.better == "higher") else "worse"


def bootstrap_differences(this: Evidence, other: Evidence, floor: Evidence, *, seed: int) -> tuple[Difference, ...]:
    """Every metric's difference with a 95 % percentile interval (Efron and Tibshirani 1993, section 13.3).

    Images are drawn again with replacement, 200 times: the same test images for both generators, and the i-th image of
    one together with the i-th of the other (images of the same latents, if both were drawn with one seed), since what
    both share is no noise of the difference. What was made of all images together is kept: in which balls an image
    lies, what a classifier that others have fitted says of it. That leaves out the noise of those others, about as much
    again, so where it matters (`kept`) the interval is widened by the root of two. docs/judging.md says how often noise
    is called a difference all the same. Each interval holds by itself: of thirteen, one in two comparisons of equal
    generators leaves out zero by chance.

    Args:
        this: Of a `Judge`.
        other: Of the same Judge.
        floor: Its floor: the real value, where that is best.
        seed: Seeds the resamples.
    """
    rng = np.random.default_rng(seed)
    real = {metric.name: metric.measure(floor) for metric in METRICS if metric.better == "as real"}
    rows = np.array([_differences(*pair, real) for pair in _resamples(this, other, rng)])
    tail = (1 - CONFIDENCE) / 2
    differences = np.array(_differences(this, other, real))
    wider = np.sqrt([2.0 if metric.kept else 1.0 for metric in METRICS])
    low, high = differences + wider * (np.quantile(rows, [tail, 1 - tail], axis=0) - differences)
    return tuple(
        Difference(
            name=metric.name,
            title=metric.title,
            better=metric.better,
            this=metric.measure(this),
            other=metric.measure(other),
            difference=difference,
            low=low[index],
            high=high[index],
        )
        for index, (metric, difference) in enumerate(zip(METRICS, differences, strict=True))
    )


def _resamples(this: Evidence, other: Evidence, rng: np.random.Generator) -> Iterator[tuple[Evidence, Evidence]]:
    num_real, num_fake = len(this.real.features), len(this.fake.features)
    for _ in range(RESAMPLES):
        real_rows, fake_rows = rng.integers(num_real, size=num_real), rng.integers(num_fake, size=num_fake)
        yield this.take(real_rows, fake_rows), other.take(real_rows, fake_rows)


def _differences(this: Evidence, other: Evidence, real: Mapping[str, float]) -> list[float]:
    differences = []
    for metric in METRICS:
        mine, theirs = metric.measure(this), metric.measure(other)
        if metric.better == "as real":
            mine, theirs = abs(mine - real[metric.name]), abs(theirs - real[metric.name])
        differences.append(mine - theirs)
    return differences
