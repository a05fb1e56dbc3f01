"""Who looks at generated images beside real ones."""

import hashlib
from functools import cached_property

import numpy as np

from gan.features import Extractor, half_resolution
from gan.judging.definitions import METRICS, Metric
from gan.judging.evidence import Evidence, FakeSide, RealSide
from gan.judging.snapshots import SnapshotJudge
from gan.metrics.classes import confidence
from gan.metrics.kernel import kernel_terms
from gan.metrics.memorization import relative_to_test
from gan.metrics.neighbours import (
    K_DENSITY_COVERAGE,
    K_PRECISION_RECALL,
    ball_radii,
    density_coverage,
    nearest,
    precision_recall,
)
from gan.metrics.pixels import intensity_histograms, total_variation
from gan.metrics.two_sample import held_out_logits


class Judge:
    """Holds what all comparisons with one test split share."""

    def __init__(
        self, extractor: Extractor, train_pixels: np.ndarray, test_pixels: np.ndarray, *, n: int, seed: int
    ) -> None:
        """Choose n real images of each split.

        Args:
            extractor: Whose features count.
            train_pixels: uint8, shape (k, 28, 28), k >= n: what a generator may have copied, and the floor.
            test_pixels: uint8, shape (m, 28, 28), m >= n.
            n: Images on each side of every comparison, more than K_DENSITY_COVERAGE.
            seed: Seeds the choice, and the folds of the two-sample test.
        """
        rng = np.random.default_rng(seed)
        self.extractor, self.n, self._seed = extractor, n, seed
        self._splits = train_pixels, test_pixels
        self._examined: dict[bytes, Evidence] = {}
        self._floor_pixels = train_pixels[np.sort(rng.choice(len(train_pixels), n, replace=False))]
        self.test_rows = np.sort(rng.choice(len(test_pixels), n, replace=False))
        self.test_pixels = test_pixels[self.test_rows]
        self._train_half = half_resolution(train_pixels)
        self.test = extractor.features(self.test_pixels)
        self.num_classes = self.test.probabilities.shape[1]
        self.test_intensities = intensity_histograms(self.test_pixels)
        self._radii_3 = ball_radii(self.test.values, K_PRECISION_RECALL)
        self._radii_5 = ball_radii(self.test.values, K_DENSITY_COVERAGE)
        self._all_classes = self.test.classes if n == len(test_pixels) else extractor.features(test_pixels).classes
        _, self._all_distances = nearest(half_resolution(test_pixels), self._train_half)  # the more, the surer

    def of(self, n: int) -> "Judge":
        """The same judge of fewer images."""
        return self if n == self.n else Judge(self.extractor, *self._splits, n=n, seed=self._seed)

    def examine(self, pixels: np.ndarray) -> Evidence:
        """Look at every image; what has been looked at before is not looked at again.

        Args:
            pixels: uint8, shape (k, 28, 28), k >= n; the first n count.
        """
        pixels = np.ascontiguousarray(pixels[: self.n])
        digest = hashlib.sha256(pixels.data).digest()
        if digest not in self._examined:
            index, distances = nearest(half_resolution(pixels), self._train_half)
            self._examined[digest] = self._examine(pixels, index, distances)
        return self._examined[digest]

    @cached_property
    def floor(self) -> Evidence:
        """Training images in the place of generated ones: what a perfect generator would reach.

        Training images are their own nearest training images, so for memorization test images stand in for them: one
        half of the test split, measured by the other.
        """
        return self._examine(self._floor_pixels, np.zeros(self.n, np.int64), None)

    def _examine(self, pixels: np.ndarray, index: np.ndarray, distances: np.ndarray | None) -> Evidence:
        found, test = self.extractor.features(pixels), self.test
        radii = ball_radii(found.values, K_PRECISION_RECALL)
        precise, recalled = precision_recall(test.values, found.values, self._radii_3, radii)
        density, covered = density_coverage(test.values, found.values, self._radii_5)
        real_logits, fake_logits = held_out_logits(test.values, found.values, np.random.default_rng(self._seed))
        if distances is None:
            relative, near_copy = relative_to_test(
                self._all_distances[::2], self._all_classes[::2], self._all_distances[1::2], self._all_classes[1::2]
            )
            rows = np.arange(self.n) % len(relative)  # as many as there are images; the share stays
            relative, near_copy = relative[rows], near_copy[rows]
        else:
            relative, near_copy = relative_to_test(distances, found.classes, self._all_distances, self._all_classes)
        return Evidence(
            RealSide(test.values, self.test_intensities, recalled, covered, real_logits),
            FakeSide(
                features=found.values,
                classes=found.classes,
                confidence=confidence(found.probabilities),
                precise=precise,
                density=density,
                kernel_terms=kernel_terms(test.values, found.values),
                logits=fake_logits,
                nearest=index,
                relative_distance=relative,
                near_copy=near_copy,
                variation=total_variation(pixels),
                intensities=intensity_histograms(pixels),
            ),
            self.num_classes,
        )

    def metrics(self, fake: Evidence, average: Evidence) -> tuple[Metric, ...]:
        """All numbers, each beside its floor."""
        return tuple(
            Metric(
                name=definition.name,
                title=definition.title,
                value=definition.measure(fake),
                average=definition.measure(average),
                floor=definition.measure(self.floor),
                standard_error=definition.standard_error(fake) if definition.standard_error else None,
                n=self.n,
                better=definition.better,
                extractor=definition.features or self.extractor.name,
                reading=definition.reading,
            )
            for definition in METRICS
        )

    def judge_snapshots(self, snapshots: np.ndarray) -> np.ndarray:
        """Fréchet distance and recall of each snapshot of a training, by `SnapshotJudge`.

        Args:
            snapshots: uint8, shape (num_snapshots, m, 28, 28).

        Returns:
            float64, shape (num_snapshots, 2).
        """
        judge = SnapshotJudge(self.extractor, self._splits[1], snapshots.shape[1])
        return np.array([judge(pixels) for pixels in snapshots])
