"""Latents that are drawn outside of training: the same ones on every device, from NumPy."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gan.models.backend import keras


BATCH_SIZE = 500
PARALLEL = 1e-6
"""Sine of an angle below which rounding decides the direction of the arc."""


class Stream(IntEnum):
    """What latents are for; each use of a seed has latents of its own."""

    SAMPLES = 0
    SNAPSHOTS = 1
    STATISTICS = 2


def sample_latents(num_images: int, latent_dim: int, *, seed: int, stream: Stream = Stream.SAMPLES) -> np.ndarray:
    """Draw latents z ~ N(0, I).

    Args:
        num_images: Latents to draw; the first k are the same whatever the number.
        latent_dim: Length of each.
        seed: Seeds the draw.
        stream: What they are for.

    Returns:
        float32, shape (num_images, latent_dim).
    """
    return np.random.default_rng((seed, stream)).standard_normal((num_images, latent_dim)).astype(np.float32)


@dataclass(frozen=True)
class GeneratorInputs:
    """What a generator makes images of."""

    latents: np.ndarray  # float32 (n, latent_dim)
    classes: np.ndarray | None = None  # float32 (n, num_classes), one-hot; None for a generator that takes none

    def __len__(self) -> int:
        """Images that come out."""
        return len(self.latents)

    def __getitem__(self, rows: slice | np.ndarray) -> "GeneratorInputs":
        """Those of some images."""
        return GeneratorInputs(self.latents[rows], None if self.classes is None else self.classes[rows])

    def batches(self) -> "Iterator[GeneratorInputs]":
        """All of them in order, BATCH_SIZE at a time: wide networks need much memory for an image."""
        for start in range(0, len(self), BATCH_SIZE):
            yield self[start : start + BATCH_SIZE]

    @property
    def arrays(self) -> np.ndarray | list[np.ndarray]:
        """As the generator takes them."""
        return self.latents if self.classes is None else [self.latents, self.classes]

    @property
    def labels(self) -> np.ndarray | None:
        """The classes that are asked for, int64 (n,)."""
        return None if self.classes is None else self.classes.argmax(axis=1)


def sample_inputs(
    generator: "keras.Model",
    num_images: int,
    *,
    seed: int,
    stream: Stream = Stream.SAMPLES,
    like_labels: np.ndarray | None = None,
) -> GeneratorInputs:
    """Draw latents, and classes for a generator that takes them.

    Args:
        generator: As `gan.models.networks.build_generator` makes it.
        num_images: Images to draw inputs for.
        seed: Seeds the draw.
        stream: What they are for.
        like_labels: int, shape (m,), labels whose shares the classes have; None for as many of each class.
    """
    latents, *classes = generator.inputs
    drawn = sample_latents(num_images, latents.shape[-1], seed=seed, stream=stream)
    if not classes:
        return GeneratorInputs(drawn)
    num_classes = classes[0].shape[-1]
    labels = draw_labels(np.arange(num_classes) if like_labels is None else like_labels, num_images, seed=seed)
    return GeneratorInputs(drawn, np.eye(num_classes, dtype=np.float32)[labels])


def draw_labels(like_labels: np.ndarray, num: int, *, seed: int) -> np.ndarray:
    """Labels in the shares of others, as exactly as their number allows, in random order; int64 (num,).

    Args:
        like_labels: int, shape (m,).
        num: Labels to draw.
        seed: Seeds the order.
    """
    rows = (np.arange(num) + 0.5) * len(like_labels) / num
    labels = np.sort(like_labels).astype(np.int64)[rows.astype(np.int64)]
    return np.random.default_rng(seed).permutation(labels)


def interpolate_latents(start: np.ndarray, end: np.ndarray, num: int) -> np.ndarray:
    """Spherical interpolation (Shoemake 1985; White 2016, arXiv:1609.04468, section 2.1).

        slerp(a, b; t) = sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b,   w the angle between a and b

    In many dimensions N(0, I) lies near a sphere; a straight line would cut through its empty middle. Between parallel
    latents (sin(w) near 0) there is no such arc, and the path is straight.

    Args:
        start: float, shape (latent_dim,).
        end: float, shape (latent_dim,).
        num: Points, both ends included.

    Returns:
        float32, shape (num, latent_dim).
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
