"""Latents that are drawn outside of training: the same ones on every device, from NumPy."""

from enum import IntEnum

import numpy as np


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


def interpolate_latents(start: np.ndarray, end: np.ndarray, num: int) -> np.ndarray:
    """Spherical interpolation (Shoemake 1985; White 2016, arXiv:1609.04468, section 2.1).

        slerp(a, b; t) = sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b,   w the angle between a and b

    In many dimensions N(0, I) lies near a sphere; a straight line would cut through its empty middle.

    Args:
        start: float, shape (latent_dim,).
        end: float, shape (latent_dim,); not parallel to `start`.
        num: Points, both ends included.

    Returns:
        float32, shape (num, latent_dim).
    """
    cosine = np.dot(start, end) / (np.linalg.norm(start) * np.linalg.norm(end))
    angle = np.arccos(np.clip(cosine, -1, 1))
    t = np.linspace(0, 1, num)[:, np.newaxis]
    path = (np.sin((1 - t) * angle) * start + np.sin(t * angle) * end) / np.sin(angle)
    latents: np.ndarray = path.astype(np.float32)
    return latents
