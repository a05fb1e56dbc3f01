"""Random draws of a training step: indices of real images, and latents."""

from enum import IntEnum

from gan.models.backend import tf


class Draw(IntEnum):
    """The draws of a step; each has its own random stream."""

    REAL_INDICES = 0
    DISCRIMINATOR_LATENTS = 1
    GENERATOR_LATENTS = 2


def draw_latents(seed: int, step: tf.Tensor, draw: Draw, shape: tuple[int, int]) -> tf.Tensor:
    """Draw latents z ~ N(0, I), float32 of `shape`, as a function of (seed, step, draw)."""
    return tf.random.stateless_normal(shape, _stream(seed, step, draw), alg="philox")


draw_latents_by_xla = tf.function(draw_latents, jit_compile=True, autograph=False)
"""`draw_latents` outside of a compiled step: eager kernels turn the same random bits into other normal numbers."""


def draw_indices(seed: int, step: tf.Tensor, num: int, num_images: int) -> tf.Tensor:
    """Draw indices of real images, int32 (num,), uniform with replacement, as a function of (seed, step)."""
    stream = _stream(seed, step, Draw.REAL_INDICES)
    return tf.random.stateless_uniform((num,), stream, 0, num_images, tf.int32, alg="philox")


def _stream(seed: int, step: tf.Tensor, draw: Draw) -> tf.Tensor:
    return tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64) * len(Draw) + int(draw)])
