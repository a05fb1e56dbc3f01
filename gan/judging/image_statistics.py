"""The statistics of each image from which metrics are computed, so that a bootstrap can resample them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gan.judging.metrics.neighbours import (
    K_DENSITY_COVERAGE,
    K_PRECISION_RECALL,
    ball_radii,
    density_coverage,
    precision_recall,
    radii_of_balls,
)
from gan.judging.metrics.two_sample import held_out_logits


class RealStatistics(NamedTuple):
    """Statistics of each test image. The last three are joint: they depend on all images of both sides."""

    features: np.ndarray  # float32 (n, d)
    intensities: np.ndarray  # float32 (n, 256)
    recalled: np.ndarray  # bool (n,)
    covered: np.ndarray  # bool (n,)
    logits: np.ndarray  # float64 (n,), of "real", by a classifier that was not fitted on this image


class FakeStatistics(NamedTuple):
    """Statistics of each generated image. The last three are joint: they depend on all images of both sides."""

    features: np.ndarray  # float32 (n, d)
    classes: np.ndarray  # int64 (n,), predicted
    confidence: np.ndarray  # float64 (n,)
    kernel_terms: np.ndarray  # float64 (n,)
    nearest: np.ndarray  # int64 (n,), index of the nearest training image
    relative_distance: np.ndarray  # float64 (n,)
    near_copy: np.ndarray  # bool (n,)
    variation: np.ndarray  # float64 (n,)
    intensities: np.ndarray  # float32 (n, 256)
    precise: np.ndarray  # bool (n,)
    density: np.ndarray  # float64 (n,)
    logits: np.ndarray  # float64 (n,), of "real", by a classifier that was not fitted on this image


@dataclass(frozen=True)
class ImageStatistics:
    """Statistics of n test images and n generated images that are compared with each other."""

    real: RealStatistics
    fake: FakeStatistics
    num_classes: int

    def take(self, real_rows: np.ndarray, fake_rows: np.ndarray) -> "ImageStatistics":
        """Return the statistics of some images, which may repeat; joint statistics keep their values."""
        real = RealStatistics(*(values[real_rows] for values in self.real))
        fake = FakeStatistics(*(values[fake_rows] for values in self.fake))
        return ImageStatistics(real, fake, self.num_classes)

    def recompute_for(self, rows: slice, *, seed: int) -> "ImageStatistics":
        """Return the statistics of some rows of both sides, with joint statistics computed from these images only."""
        indices = np.arange(len(self.real.features))[rows]
        part = self.take(indices, indices)
        features = part.real.features
        real, fake = joint_statistics(features, part.fake.features, real_radii(features), seed=seed)
        return ImageStatistics(part.real._replace(**real), part.fake._replace(**fake), self.num_classes)


def real_radii(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ball radii of real images that precision needs, and those that density and coverage need."""
    of_precision, of_density = radii_of_balls(features, [K_PRECISION_RECALL, K_DENSITY_COVERAGE])
    return of_precision, of_density


def joint_statistics(
    real: np.ndarray, fake: np.ndarray, radii: tuple[np.ndarray, np.ndarray], *, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Compute the joint fields of `RealStatistics` and `FakeStatistics`, which depend on all images of both sides.

    `real` and `fake` are features, float32 (n, d); `radii` are `real_radii` of real; `seed` draws the two-sample folds.
    """
    precise, recalled = precision_recall(real, fake, radii[0], ball_radii(fake, K_PRECISION_RECALL))
    density, covered = density_coverage(real, fake, radii[1])
    real_logits, fake_logits = held_out_logits(real, fake, np.random.default_rng(seed))
    return (
        {"recalled": recalled, "covered": covered, "logits": real_logits},
        {"precise": precise, "density": density, "logits": fake_logits},
    )
