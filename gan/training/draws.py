"""What a training step draws at random: indices of real images, and latents."""

from enum import IntEnum

from gan.models.backend import tf


class Draw(IntEnum):
    """What is drawn at random within a step; each has a stream of its own."""

    REAL_INDICES = 0
    DISCRIMINATOR_LATENTS = 1
    GENERATOR_LATENTS = 2


def draw_latents(seed: int, step: tf.Tensor, draw: Draw, shape: tuple[int, int]) -> tf.Tensor:
    """Latents z ~ N(0, I), float32 of `shape`; a function of (seed, step, draw)."""
    return tf.random.stateless_normal(shape, _stream(seed, step, draw), alg="philox")


draw_latents_by_xla = tf.function(draw_latents, jit_compile=True, autograph=False)
"""The same outside of a compiled step: of the same random bits eager kernels would make other normal numbers."""


def draw_indices(seed: int, step: tf.Tensor, num: int, num_images: int) -> tf.Tensor:
    """Indices of real images, int32 (num,), uniform with replacement; a function of (seed, step)."""
    stream = _stream(seed, step, Draw.REAL_INDICES)
    return tf.random.stateless_uniform((num,), stream, 0, num_images, tf.int32, alg="philox")


def _stream(seed: int, step: tf.Tensor, draw: Draw) -> tf.Tensor:
    return tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64) * len(Draw) + int(draw)])
