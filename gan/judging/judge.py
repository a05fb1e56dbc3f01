"""Who looks at generated images beside real ones."""

import hashlib
from functools import cached_property

import numpy as np

from gan.judging.definitions import METRICS, Metric
from gan.judging.evidence import Evidence, FakeSide, RealSide
from gan.judging.features import HALF_RESOLUTION, Extractor, half_resolution
from gan.judging.measured import reasoned
from gan.judging.metrics.classes import confidence
from gan.judging.metrics.kernel import kernel_terms
from gan.judging.metrics.memorization import relative_to_test
from gan.judging.metrics.neighbours import nearest
from gan.judging.metrics.pixels import intensity_histograms, total_variation
from gan.judging.mutual import RealBalls, judge_mutually
from gan.judging.snapshots import SnapshotJudge


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
            n: Images on each side of every comparison, 60 or more: a tenth has to have neighbours (`mutual`).
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
        self._balls = RealBalls.of(self.test.values)
        self._all_classes = self.test.classes if n == len(test_pixels) else extractor.features(test_pixels).classes
        _, self._all_distances = nearest(half_resolution(test_pixels), self._train_half)  # the more, the surer

    @property
    def num_test(self) -> int:
        """Images in the whole test split."""
        return len(self._splits[1])

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
        mutual = judge_mutually(self._balls, found.values, seed=self._seed)
        if distances is None:
            relative, near_copy = relative_to_test(
                self._all_distances[::2], self._all_classes[::2], self._all_distances[1::2], self._all_classes[1::2]
            )
        else:
            relative, near_copy = relative_to_test(distances, found.classes, self._all_distances, self._all_classes)
        return Evidence(
            RealSide(test.values, self.test_intensities, mutual.recalled, mutual.covered, mutual.real_logits),
            FakeSide(
                features=found.values,
                classes=found.classes,
                confidence=confidence(found.probabilities),
                precise=mutual.precise,
                density=mutual.density,
                kernel_terms=kernel_terms(test.values, found.values),
                logits=mutual.fake_logits,
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
                n=self.n,
                floor_n=len(self.floor.fake.near_copy) if definition.features == HALF_RESOLUTION else self.n,
                better=definition.better,
                extractor=definition.features or self.extractor.name,
                reading=definition.reading,
                **reasoned(
                    definition.undefined,
                    value=definition.measure(fake),
                    average=definition.measure(average),
                    floor=definition.measure(self.floor),
                    standard_error=definition.standard_error(fake) if definition.standard_error else None,
                ),
            )
            for definition in METRICS
        )

    def of_snapshots(self, num_images: int) -> SnapshotJudge:
        """Who judges snapshots of so many images on the way, by the same features and test split."""
        return SnapshotJudge(self.extractor, self._splits[1], num_images)
