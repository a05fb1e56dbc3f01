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
    """Statistics of each test image. All after the second are joint: they depend on all images of both sides.

    An *influence* is what an image contributes to the value of a metric through other images, such as those in its
    ball, minus the mean over all images (Efron and Tibshirani 1993, chapter 21: the empirical influence function). Its
    mean over all images is 0, and over a resample it is the change of the metric by other images in its place.
    """

    features: np.ndarray  # float32 (n, d)
    intensities: np.ndarray  # float32 (n, 256)
    recalled: np.ndarray  # bool (n,)
    covered: np.ndarray  # bool (n,)
    on_precision: np.ndarray  # float64 (n,), influence
    on_density: np.ndarray  # float64 (n,), influence
    logits: np.ndarray  # float64 (n,), of "real", by a classifier that was not fitted on this image


class FakeStatistics(NamedTuple):
    """Statistics of each generated image. Those from `precise` on are joint, as in `RealStatistics`.

    `nearest_other` and the three statistics after it depend on all generated images.
    """

    features: np.ndarray  # float32 (n, d)
    classes: np.ndarray  # int64 (n,), predicted
    confidence: np.ndarray  # float64 (n,)
    kernel_terms: np.ndarray  # float64 (n,)
    nearest: np.ndarray  # int64 (n,), index of the nearest training image
    relative_distance: np.ndarray  # float64 (n,)
    near_copy: np.ndarray  # bool (n,)
    nearest_other: np.ndarray  # int64 (n,), index of the nearest other generated image
    relative_to_other: np.ndarray  # float64 (n,), distance to it, relative to those among test images of the same class
    near_duplicate: np.ndarray  # bool (n,)
    on_duplicates: np.ndarray  # float64 (n,), influence as in `RealStatistics`
    variation: np.ndarray  # float64 (n,)
    intensities: np.ndarray  # float32 (n, 256)
    precise: np.ndarray  # bool (n,)
    density: np.ndarray  # float64 (n,)
    on_recall: np.ndarray  # float64 (n,), influence as in `RealStatistics`
    on_coverage: np.ndarray  # float64 (n,), influence
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

    def classify_again(self, rows: slice, *, seed: int) -> "ImageStatistics":
        """Return the statistics of some rows of both sides, with logits of a classifier for these images only."""
        indices = np.arange(len(self.real.features))[rows]
        part = self.take(indices, indices)
        real, fake = held_out_logits(part.real.features, part.fake.features, np.random.default_rng(seed))
        return ImageStatistics(part.real._replace(logits=real), part.fake._replace(logits=fake), self.num_classes)


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
    supports = precision_recall(real, fake, radii[0], ball_radii(fake, K_PRECISION_RECALL))
    balls = density_coverage(real, fake, radii[1])
    real_logits, fake_logits = held_out_logits(real, fake, np.random.default_rng(seed))
    real_joint = {
        "recalled": supports.recalled,
        "covered": balls.covered,
        "on_precision": _influence(supports.precise_by, len(fake)),
        "on_density": _influence(balls.density_by, len(fake)),
        "logits": real_logits,
    }
    fake_joint = {
        "precise": supports.precise,
        "density": balls.density,
        "on_recall": _influence(supports.recalled_by, len(real)),
        "on_coverage": _influence(balls.covered_by, len(real)),
        "logits": fake_logits,
    }
    return real_joint, fake_joint


def influence_on_duplicates(nearest_other: np.ndarray, near: np.ndarray, near_second: np.ndarray) -> np.ndarray:
    """Return the influence of each image on the share of near duplicates, beyond being one itself, float64 (n,).

    If an image is left out, images that are near only to it stop being near duplicates. Near duplicates often come in
    pairs, so their number varies more than that of independent images. The sum of the squares of all changes by
    leaving out one image is on average at least the variance (Efron and Stein 1981).

    Args:
        nearest_other: int, shape (n,), index of the nearest other image.
        near: bool, shape (n,): the image is a near duplicate of it.
        near_second: bool, shape (n,): it is also near to a second image.
    """
    return _influence(np.bincount(nearest_other[near & ~near_second], minlength=len(near)), len(near))


def _influence(contributions: np.ndarray, num_other: int) -> np.ndarray:
    """Return the influence of each image on a mean over `num_other` images: those of the other side, or of its own.

    Args:
        contributions: int or float, shape (n,): by how much the sum over those images would be lower without the image,
            if nothing else changed (such as the balls of the remaining images).
        num_other: Number of those images.
    """
    values = contributions * (len(contributions) / num_other)
    return np.asarray(values - values.mean())
