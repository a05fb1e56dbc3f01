"""Fréchet distance and recall of few images, to follow the progress of a training."""

import numpy as np

from gan.judging.features import Extractor
from gan.judging.measured import rounded
from gan.judging.metrics.frechet import frechet_distance
from gan.judging.metrics.neighbours import K_PRECISION_RECALL, ball_radii, precision_recall

SEED = 0


class SnapshotJudge:
    """Measures snapshots of a training. With so few images its numbers are comparable only with each other."""

    def __init__(self, extractor: Extractor, test_pixels: np.ndarray, num_images: int) -> None:
        """Draw test images at random with a fixed seed, since a split may be sorted by class.

        Args:
            extractor: The network whose features are compared.
            test_pixels: uint8, shape (k, 28, 28), the whole test split.
            num_images: Images in a snapshot; a comparison uses n = min(num_images, k) images a side.
        """
        self.n = min(num_images, len(test_pixels))
        self.extractor = extractor
        rows = np.sort(np.random.default_rng(SEED).choice(len(test_pixels), self.n, replace=False))
        self._test = extractor.features(test_pixels[rows]).values
        self._test_radii = ball_radii(self._test, K_PRECISION_RECALL)

    @property
    def description(self) -> str:
        """Number of images and name of the features that the numbers are computed on."""
        return f"{self.n:,} images a side, {self.extractor.name} features"

    def __call__(self, pixels: np.ndarray) -> tuple[float, float]:
        """Return Fréchet distance and recall (QUALITY_COLUMNS) of the first n images of pixels, uint8 (m, 28, 28)."""
        fake = self.extractor.features(pixels[: self.n]).values
        _, recalled = precision_recall(self._test, fake, self._test_radii, ball_radii(fake, K_PRECISION_RECALL))
        return rounded(frechet_distance(self._test, fake)), rounded(recalled.mean())
