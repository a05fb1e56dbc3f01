"""The comparison of generated images with the real images of one data set."""

import hashlib
from functools import cached_property

import numpy as np

from gan.judging.definitions import METRICS, Metric
from gan.judging.features import Extractor
from gan.judging.image_statistics import (
    FakeStatistics,
    ImageStatistics,
    RealStatistics,
    influence_on_duplicates,
    joint_statistics,
    real_radii,
)
from gan.judging.measured import replace_undefined, rounded
from gan.judging.metrics.frechet import frechet_distance
from gan.judging.metrics.kernel import kernel_terms
from gan.judging.metrics.memorization import relative_to_other_images, relative_to_test
from gan.judging.metrics.neighbours import K_PRECISION_RECALL, ball_radii, precision_recall
from gan.judging.metrics.pixels import intensity_histograms, total_variation
from gan.judging.metrics.similar_images import ImageIndex, nearest_others

SNAPSHOT_SEED = 0

AGAINST_TRAINING_IMAGES = frozenset({"nearest_training_image", "near_copies"})
"""Names of the metrics whose floor is of test images, because each training image is its own nearest one."""


class Judge:
    """Compares sets of generated images with one sample of real images, whose statistics are computed once."""

    def __init__(
        self, extractor: Extractor, train_pixels: np.ndarray, test_pixels: np.ndarray, *, n: int, seed: int
    ) -> None:
        """Choose n real images of each split and compute their statistics.

        Args:
            extractor: The network whose features are compared.
            train_pixels: uint8, shape (k, 28, 28), k >= n, for memorization and for the floor.
            test_pixels: uint8, shape (m, 28, 28), m >= n.
            n: Images on each side of every comparison, at least 60: the bootstrap fits the linear classifier to a tenth
                of them, which then has images of both sides in each fold.
            seed: Seeds the choice of images and the folds of the two-sample test.
        """
        rng = np.random.default_rng(seed)
        self.extractor, self.n, self._seed = extractor, n, seed
        self._splits = train_pixels, test_pixels
        self._examined: dict[bytes, ImageStatistics] = {}
        self._floor_pixels = train_pixels[np.sort(rng.choice(len(train_pixels), n, replace=False))]
        self.test_rows = np.sort(rng.choice(len(test_pixels), n, replace=False))
        self.test_pixels = test_pixels[self.test_rows]
        self._train_index = ImageIndex(train_pixels)
        self.test = extractor.features(self.test_pixels)
        self.num_classes = self.test.probabilities.shape[1]
        self.test_intensities = intensity_histograms(self.test_pixels)
        self._radii = real_radii(self.test.values)
        # Memorization is measured against the whole test split, not n images of it, to lower its bias.
        self._all_classes = self.test.classes if n == len(test_pixels) else extractor.features(test_pixels).classes
        _, self._all_distances = self._train_index.nearest(test_pixels)
        # Without duplicates: if 1 % of the test images were duplicates, the limit would be 0, which only repeats reach.
        _, distinct = np.unique(self.test_pixels.reshape(n, -1), axis=0, return_index=True)
        self._distinct_classes = self.test.classes[distinct]
        self._test_to_others = nearest_others(self.test_pixels[distinct]).distances

    @property
    def num_test(self) -> int:
        """Number of images in the whole test split."""
        return len(self._splits[1])

    def with_n(self, n: int) -> "Judge":
        """Return a judge that compares n real with n generated images, with the same extractor, splits and seed."""
        return self if n == self.n else Judge(self.extractor, *self._splits, n=n, seed=self._seed)

    def examine(self, pixels: np.ndarray) -> ImageStatistics:
        """Compute the statistics of the first n of pixels, uint8 (k, 28, 28), unless they are cached."""
        pixels = np.ascontiguousarray(pixels[: self.n])
        digest = hashlib.sha256(pixels.data).digest()
        if digest not in self._examined:
            self._examined[digest] = self._examine(pixels, *self._train_index.nearest(pixels))
        return self._examined[digest]

    @cached_property
    def floor(self) -> ImageStatistics:
        """Statistics of training images in the place of generated ones: what a perfect generator would reach.

        The memorization metrics of the floor compare each image of the test split with the others, because each
        training image is its own nearest training image.
        """
        return self._examine(self._floor_pixels, np.zeros(self.n, np.int64), None)

    def _examine(self, pixels: np.ndarray, index: np.ndarray, distances: np.ndarray | None) -> ImageStatistics:
        found, test, test_side = self.extractor.features(pixels), self.test, (self._all_distances, self._all_classes)
        if distances is None:  # the floor
            relative_distance, near_copy = relative_to_other_images(*test_side)
        else:
            relative_distance, near_copy = relative_to_test(distances, found.classes, *test_side)
        others, test_others = nearest_others(pixels), (self._test_to_others, self._distinct_classes)
        relative_to_other, near_duplicate = relative_to_test(others.distances, found.classes, *test_others)
        _, near_second = relative_to_test(others.to_second, found.classes, *test_others)
        real_joint, fake_joint = joint_statistics(test.values, found.values, self._radii, seed=self._seed)
        fake = FakeStatistics(
            features=found.values,
            classes=found.classes,
            confidence=found.confidence,
            kernel_terms=kernel_terms(test.values, found.values),
            nearest=index,
            relative_distance=relative_distance,
            near_copy=near_copy,
            nearest_other=others.nearest,
            relative_to_other=relative_to_other,
            near_duplicate=near_duplicate,
            on_duplicates=influence_on_duplicates(others.nearest, near_duplicate, near_second),
            variation=total_variation(pixels),
            intensities=intensity_histograms(pixels),
            **fake_joint,
        )
        return ImageStatistics(RealStatistics(test.values, self.test_intensities, **real_joint), fake, self.num_classes)

    def metrics(self, fake: ImageStatistics, average: ImageStatistics) -> tuple[Metric, ...]:
        """Return every metric of the generator's images and of the averaged generator's images, with its floor."""
        return tuple(
            Metric(
                name=definition.name,
                title=definition.title,
                n=self.n,
                floor_n=len(self.floor.fake.near_copy) if definition.name in AGAINST_TRAINING_IMAGES else self.n,
                better=definition.better,
                extractor=definition.features or self.extractor.name,
                reading=definition.reading,
                **replace_undefined(
                    definition.undefined,
                    value=definition.measure(fake),
                    average=definition.measure(average),
                    floor=definition.measure(self.floor),
                    standard_error=definition.standard_error(fake) if definition.standard_error else None,
                ),
            )
            for definition in METRICS
        )


class SnapshotJudge:
    """Measures snapshots of a training. With so few images its numbers are comparable only with each other."""

    def __init__(self, extractor: Extractor, test_pixels: np.ndarray, num_images: int) -> None:
        """Draw min(num_images, k) test images, uint8 (k, 28, 28), at random, because a split may be sorted by class."""
        self.n = min(num_images, len(test_pixels))
        self.extractor = extractor
        rows = np.sort(np.random.default_rng(SNAPSHOT_SEED).choice(len(test_pixels), self.n, replace=False))
        self._test = extractor.features(test_pixels[rows]).values
        self._test_radii = ball_radii(self._test, K_PRECISION_RECALL)

    @property
    def description(self) -> str:
        """Number of images and name of the features that the numbers are computed on."""
        return f"{self.n:,} real and {self.n:,} generated images, {self.extractor.name} features"

    def __call__(self, pixels: np.ndarray) -> tuple[float, float]:
        """Return Fréchet distance and recall (QUALITY_COLUMNS) of the first n images of pixels, uint8 (m, 28, 28)."""
        fake = self.extractor.features(pixels[: self.n]).values
        found = precision_recall(self._test, fake, self._test_radii, ball_radii(fake, K_PRECISION_RECALL))
        return rounded(frechet_distance(self._test, fake)), rounded(found.recalled.mean())
