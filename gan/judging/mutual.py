"""What real and generated images say of each other: in whose balls they lie, and whether a classifier tells them apart.

It depends on all images of both sides at once. A bootstrap, which takes some images twice, would find those at distance
zero of each other, so where this is to be had of fewer images it is made anew (`judged_anew`).
"""

from dataclasses import dataclass, replace

import numpy as np

from gan.judging.evidence import Evidence
from gan.judging.metrics.neighbours import (
    K_DENSITY_COVERAGE,
    K_PRECISION_RECALL,
    ball_radii,
    density_coverage,
    precision_recall,
)
from gan.judging.metrics.two_sample import held_out_logits


@dataclass(frozen=True)
class RealBalls:
    """Features of real images and the radii of their balls, which all comparisons with them share."""

    features: np.ndarray  # float32 (n, d)
    for_precision: np.ndarray  # float64 (n,), squared
    for_coverage: np.ndarray  # float64 (n,), squared

    @classmethod
    def of(cls, features: np.ndarray) -> "RealBalls":
        """Those of n > K_DENSITY_COVERAGE images."""
        return cls(features, ball_radii(features, K_PRECISION_RECALL), ball_radii(features, K_DENSITY_COVERAGE))


@dataclass(frozen=True)
class Mutual:
    """Of n real and n generated images; fields as in `RealSide` and `FakeSide`."""

    precise: np.ndarray
    recalled: np.ndarray
    density: np.ndarray
    covered: np.ndarray
    real_logits: np.ndarray
    fake_logits: np.ndarray


def judge_mutually(real: RealBalls, fake: np.ndarray, *, seed: int) -> Mutual:
    """Find it.

    Args:
        real: The real side.
        fake: float32, shape (n, d), features.
        seed: Seeds the folds of the two-sample test.
    """
    fake_radii = ball_radii(fake, K_PRECISION_RECALL)
    precise, recalled = precision_recall(real.features, fake, real.for_precision, fake_radii)
    density, covered = density_coverage(real.features, fake, real.for_coverage)
    real_logits, fake_logits = held_out_logits(real.features, fake, np.random.default_rng(seed))
    return Mutual(precise, recalled, density, covered, real_logits, fake_logits)


def judged_anew(evidence: Evidence, rows: slice, *, seed: int) -> Evidence:
    """The same rows of either side, judged as if there were no others.

    Args:
        evidence: Of more images.
        rows: More than K_DENSITY_COVERAGE of them.
        seed: Seeds the folds of the two-sample test.
    """
    every = np.arange(len(evidence.real.features))[rows]
    part = evidence.take(every, every)
    found = judge_mutually(RealBalls.of(part.real.features), part.fake.features, seed=seed)
    return Evidence(
        replace(part.real, recalled=found.recalled, covered=found.covered, logits=found.real_logits),
        replace(part.fake, precise=found.precise, density=found.density, logits=found.fake_logits),
        part.num_classes,
    )
