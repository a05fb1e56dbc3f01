"""One iteration of training, to be read beside the recipe `article`, line by line; the losses are in `gan.losses`.

Everything random is a function of (seed, step): a training that is killed and goes on from a checkpoint draws the
same batches and latents, and ends with the same weights, as one that was never interrupted on the same device. The loop
around the iteration is in `gan.trainer`, how it is run on some hardware in `gan.engine`.
"""

from collections.abc import Callable
from enum import IntEnum

from gan.backend import tf
from gan.config import TrainConfig
from gan.losses import fake_accuracy, fake_loss, generator_loss, real_accuracy, real_loss
from gan.networks import Networks
from gan.recipes import Recipe

TrainStep = Callable[[tf.Tensor, int], tf.Tensor]
"""One iteration: takes the step (int64 scalar) and its phase; gives its row of the history, float32 (3,).

The phase is the step modulo the recipe's `penalty_every`, known when the program is compiled; the article has none.
"""


def is_compiled_by_xla(recipe: Recipe) -> bool:
    """Whether XLA makes one program of a step.

    On a CPU its convolutions are half as fast as those of TensorFlow's graph (docs/recipes.md has figures); on a GPU
    nobody has measured it.
    """
    return recipe.layers == "dense"


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


def update_discriminator(
    networks: Networks, real_images: tf.Tensor, fake_images: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Two separate Adam updates of the discriminator: real images with label 1, then fake images with label 0.

    Returns:
        Means over the two updates of loss and accuracy, each taken before its update; float32 scalars.
    """
    discriminator, weights = networks.discriminator, networks.discriminator.trainable_variables
    losses, accuracies = [], []
    for images, loss_of, accuracy_of in (
        (real_images, real_loss, real_accuracy),
        (fake_images, fake_loss, fake_accuracy),
    ):
        with tf.GradientTape() as tape:
            logits = discriminator(images, training=True)
            loss = loss_of(logits)
        networks.d_optimizer.apply(tape.gradient(loss, weights), weights)
        losses.append(loss)
        accuracies.append(accuracy_of(logits))
    return sum(losses) / 2, sum(accuracies) / 2


def update_generator(networks: Networks, latents: tf.Tensor) -> tf.Tensor:
    """One Adam update of the generator, in training mode, through a discriminator that stays as it is.

    BatchNormalization uses the batch's statistics here, and this is where its moving statistics change.

    Returns:
        The loss before the update; float32 scalar.
    """
    weights = networks.generator.trainable_variables
    with tf.GradientTape() as tape:
        logits = networks.discriminator(networks.generator(latents, training=True), training=False)
        loss = generator_loss(logits)
    networks.g_optimizer.apply(tape.gradient(loss, weights), weights)
    return loss


def make_train_step(networks: Networks, images: tf.Tensor, config: TrainConfig) -> TrainStep:
    """Compile one iteration of the article (step 5, a to e).

    Args:
        networks: Changed in place by every call.
        images: The training split, float32 (n, 28, 28, 1) in [-1, 1], resident on the device.
        config: Batch size, seed and recipe.

    Returns:
        The compiled step.
    """
    num, shape = config.batch_size, (config.batch_size, config.recipe.latent_dim)

    def train_step(step: tf.Tensor, _phase: int = 0) -> tf.Tensor:
        real_images = tf.gather(images, draw_indices(config.seed, step, num, images.shape[0]))  # (num, 28, 28, 1)
        latents = draw_latents(config.seed, step, Draw.DISCRIMINATOR_LATENTS, shape)
        fake_images = networks.generator(latents, training=False)  # (num, 28, 28, 1), by the moving statistics
        d_loss, d_accuracy = update_discriminator(networks, real_images, fake_images)
        g_loss = update_generator(networks, draw_latents(config.seed, step, Draw.GENERATOR_LATENTS, shape))
        return tf.stack([d_loss, d_accuracy, g_loss])

    compiled: TrainStep = tf.function(train_step, jit_compile=is_compiled_by_xla(config.recipe), autograph=False)
    return compiled
