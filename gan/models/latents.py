"""Inputs of a generator outside of training steps. NumPy draws them, so that they are equal on every device."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gan.models.backend import keras

BATCH_SIZE = 500
PARALLEL = 1e-6
"""Two latents are parallel if the sine of the angle between them is less: rounding would decide the arc's direction."""


class Stream(IntEnum):
    """The uses of latents; each draws other latents from the same seed.

    None is 0: NumPy's generator for (seed, 0) is the one for seed alone, which draws labels.
    """

    SNAPSHOTS = 1
    STATISTICS = 2
    TWO_SAMPLE = 3
    SAMPLES = 4


def sample_latents(num_images: int, latent_dim: int, *, seed: int, stream: Stream = Stream.SAMPLES) -> np.ndarray:
    """Draw latents z ~ N(0, I), float32 (num_images, latent_dim); the first k do not depend on their number."""
    return np.random.default_rng((seed, stream)).standard_normal((num_images, latent_dim)).astype(np.float32)


@dataclass(frozen=True)
class GeneratorInputs:
    """The inputs of a generator for n images."""

    latents: np.ndarray  # float32 (n, latent_dim)
    classes: np.ndarray | None = None  # float32 (n, num_classes), one-hot; None without conditioning on classes

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.latents)

    def __getitem__(self, rows: slice | np.ndarray) -> "GeneratorInputs":
        """Return the inputs of some images."""
        return GeneratorInputs(self.latents[rows], None if self.classes is None else self.classes[rows])

    def batches(self) -> "Iterator[GeneratorInputs]":
        """Yield all inputs in order, BATCH_SIZE at a time, since wide networks need much memory for each image."""
        for start in range(0, len(self), BATCH_SIZE):
            yield self[start : start + BATCH_SIZE]

    @property
    def arrays(self) -> np.ndarray | list[np.ndarray]:
        """Return the arguments of the generator."""
        return self.latents if self.classes is None else [self.latents, self.classes]

    @property
    def labels(self) -> np.ndarray | None:
        """Return the classes as labels, int64 (n,)."""
        return None if self.classes is None else self.classes.argmax(axis=1)


def sample_inputs(
    generator: "keras.Model",
    num_images: int,
    *,
    seed: int,
    stream: Stream = Stream.SAMPLES,
    like_labels: np.ndarray | None = None,
) -> GeneratorInputs:
    """Draw latents, and classes for a generator of `build_generator` that is conditioned on them.

    The classes have the frequencies of `like_labels`, int (m,); equal frequencies if that is None.
    """
    latents, *classes = generator.inputs
    drawn = sample_latents(num_images, latents.shape[-1], seed=seed, stream=stream)
    if not classes:
        return GeneratorInputs(drawn)
    num_classes = classes[0].shape[-1]
    labels = draw_labels(np.arange(num_classes) if like_labels is None else like_labels, num_images, seed=seed)
    return GeneratorInputs(drawn, np.eye(num_classes, dtype=np.float32)[labels])


def draw_labels(like_labels: np.ndarray, num: int, *, seed: int) -> np.ndarray:
    """Draw `num` labels in random order, int64, with the frequencies of `like_labels` as exactly as possible."""
    rows = (np.arange(num) + 0.5) * len(like_labels) / num
    labels = np.sort(like_labels).astype(np.int64)[rows.astype(np.int64)]
    return np.random.default_rng(seed).permutation(labels)


def interpolate_latents(start: np.ndarray, end: np.ndarray, num: int) -> np.ndarray:
    """Interpolate spherically (Shoemake 1985; White 2016, arXiv:1609.04468, section 2.1).

        slerp(a, b; t) = sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b,   w the angle between a and b

    In many dimensions, samples of N(0, I) lie near a sphere; a straight line would pass through its empty interior.
    Between parallel latents (sin(w) near 0) the arc is not defined, and the path is straight.

    Both ends, float (latent_dim,), are on the path, float32 (num, latent_dim).
    """
    start, end = start.astype(np.float64), end.astype(np.float64)
    norms = float(np.linalg.norm(start) * np.linalg.norm(end))
    angle = np.arccos(np.clip(np.dot(start, end) / norms, -1, 1)) if norms else 0.0
    t = np.linspace(0, 1, num)[:, np.newaxis]
    if np.sin(angle) < PARALLEL:
        path = (1 - t) * start + t * end
    else:
        path = (np.sin((1 - t) * angle) * start + np.sin(t * angle) * end) / np.sin(angle)
    latents: np.ndarray = path.astype(np.float32)
    return latents
