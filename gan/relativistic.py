"""One iteration of the recipes after the article: a relativistic loss, gradient penalties, both networks in one go.

R3GAN (Huang et al. 2025, arXiv:2501.05441) without its networks. What differs from the article's iteration:

    one batch of latents, and one pass of the generator in training mode, for both networks
    discriminator: one update on pairs of a real and a generated image, every few steps with R1 and R2 (as lazily as in
        StyleGAN2, Karras et al. 2020, arXiv:1912.04958, section 3.1)
    generator: its update is through the discriminator as it was before that
    recipes with classes: the generator is asked for the classes of the real images, so each pair is of one class

Randomness is a function of (seed, step), as in `gan.training`.
"""

from typing import NamedTuple

from gan.backend import tf
from gan.config import TrainConfig
from gan.losses import gradient_penalty, ranking_accuracy, relativistic_loss
from gan.networks import Networks
from gan.training import Draw, TrainStep, draw_indices, draw_latents, is_compiled_by_xla


class Gradients(NamedTuple):
    """What one look of the discriminator at real and generated images gives."""

    by_weight: list[tf.Tensor]  # of the discriminator's loss and penalties
    by_fake_image: tf.Tensor  # of the generator's loss, (n, 28, 28, 1)
    d_loss: tf.Tensor  # scalar, without penalties
    real_logits: tf.Tensor  # (n, 1)
    fake_logits: tf.Tensor  # (n, 1)


MAX_AHEAD = 60.0
"""Of a logit over another: far beyond it neither factor of a gradient could be written in float32."""


def discriminator_loss(
    networks: Networks, images: tf.Tensor, classes: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The relativistic loss.

    Args:
        networks: The discriminator is used.
        images: float32 (2 n, 28, 28, 1) in [-1, 1]: real ones, then as many generated ones. One pass for all: no layer
            of a discriminator mixes images.
        classes: float32 (n, num_classes), one-hot: of each pair, whose logit counts; None where there is one logit.

    Returns:
        The loss, float32 scalar; logits of real and of generated images, (n, 1).
    """
    logits = networks.discriminator(images, training=True)
    if classes is not None:
        logits = tf.reduce_sum(logits * tf.tile(classes, (2, 1)), axis=1, keepdims=True)
    real_logits, fake_logits = tf.split(logits, 2)
    return relativistic_loss(winners=real_logits, losers=fake_logits), real_logits, fake_logits


def plain_gradients(networks: Networks, images: tf.Tensor, classes: tf.Tensor | None = None) -> Gradients:
    """Of the losses alone, in one pass back through the discriminator, which serves both networks.

    The generator's loss is the discriminator's of the negated difference of logits: softplus(x), not softplus(-x). So
    its gradient by a generated image is that of the discriminator's loss times -softplus'(x) / softplus'(-x) = -exp(x).

    Args:
        networks: The discriminator is used.
        images: float32 (2 n, 28, 28, 1): real ones, then generated ones.
        classes: As for `discriminator_loss`.
    """
    weights = networks.discriminator.trainable_variables
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss, real_logits, fake_logits = discriminator_loss(networks, images, classes)
    *by_weight, by_image = tape.gradient(loss, [*weights, images])
    factors = -tf.exp(tf.clip_by_value(real_logits - fake_logits, -MAX_AHEAD, MAX_AHEAD))
    return Gradients(by_weight, _scaled(by_image, factors), loss, real_logits, fake_logits)


def penalized_gradients(
    networks: Networks, images: tf.Tensor, gamma: float, classes: tf.Tensor | None = None
) -> Gradients:
    """The same with the penalties gamma / 2 (R1 + R2) on the discriminator: eq. 4 of R3GAN.

    Args:
        networks: The discriminator is used.
        images: float32 (2 n, 28, 28, 1): real ones, then generated ones.
        gamma: Weight of the penalties.
        classes: As for `discriminator_loss`.
    """
    weights = networks.discriminator.trainable_variables
    with tf.GradientTape() as tape:
        with tf.GradientTape() as image_tape:
            image_tape.watch(images)
            loss, real_logits, fake_logits = discriminator_loss(networks, images, classes)
            logits = tf.concat([real_logits, fake_logits], axis=0)
        slopes = image_tape.gradient(logits, images)
        total = loss + gamma * gradient_penalty(slopes)  # a mean over both halves, so half of R1 + R2
    factors = -tf.sigmoid(real_logits - fake_logits) / tf.cast(tf.shape(real_logits)[0], slopes.dtype)
    return Gradients(tape.gradient(total, weights), _scaled(slopes, factors), loss, real_logits, fake_logits)


def _scaled(by_image: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Gradients by the generated images, each times its factor."""
    return tf.split(by_image, 2)[1] * factors[:, :, tf.newaxis, tf.newaxis]


def both_gradients(
    networks: Networks, real_images: tf.Tensor, latents: tf.Tensor, gamma: float, classes: tf.Tensor | None = None
) -> tuple[list[tf.Tensor], Gradients]:
    """Gradients of both networks at their present weights.

    Args:
        networks: The moving statistics of the generator's BatchNormalization change.
        real_images: float32 (n, 28, 28, 1) in [-1, 1].
        latents: float32 (n, latent_dim).
        gamma: Weight of the penalties; 0 for none.
        classes: float32 (n, num_classes), one-hot, of the real images; None for networks without classes.

    Returns:
        Of the generator's loss by its weights; and what the discriminator gave.
    """
    with tf.GradientTape() as tape:
        fake_images = networks.generator(latents if classes is None else [latents, classes], training=True)
    images = tf.concat([real_images, fake_images], axis=0)
    found = (
        penalized_gradients(networks, images, gamma, classes) if gamma else plain_gradients(networks, images, classes)
    )
    weights = networks.generator.trainable_variables
    return tape.gradient(fake_images, weights, output_gradients=found.by_fake_image), found


def update_both(
    networks: Networks, real_images: tf.Tensor, latents: tf.Tensor, gamma: float, classes: tf.Tensor | None = None
) -> tf.Tensor:
    """One Adam update of each network, of gradients at the same weights.

    Args:
        networks: Changed in place.
        real_images: As for `both_gradients`, like the arguments after it.
        latents: float32 (n, latent_dim).
        gamma: Weight of the penalties in this iteration; 0 for none.
        classes: float32 (n, num_classes), or None.

    Returns:
        Discriminator's loss (without penalties) and accuracy, generator's loss, all before the updates; float32 (3,).
    """
    g_gradients, found = both_gradients(networks, real_images, latents, gamma, classes)
    networks.d_optimizer.apply(found.by_weight, networks.discriminator.trainable_variables)
    networks.g_optimizer.apply(g_gradients, networks.generator.trainable_variables)
    g_loss = relativistic_loss(winners=found.fake_logits, losers=found.real_logits)
    return tf.stack([found.d_loss, ranking_accuracy(found.real_logits, found.fake_logits), g_loss])


def make_relativistic_step(
    networks: Networks, images: tf.Tensor, config: TrainConfig, labels: tf.Tensor | None = None
) -> TrainStep:
    """Compile one iteration.

    Args:
        networks: Changed in place by every call.
        images: The training split, float32 (n, 28, 28, 1) in [-1, 1], resident on the device.
        config: Batch size, seed and recipe.
        labels: int32 (n,), of the images; needed by recipes with classes alone.
    """
    num, recipe = config.batch_size, config.recipe

    @tf.function(jit_compile=is_compiled_by_xla(recipe), autograph=False)
    def compiled(step: tf.Tensor, gamma: float) -> tf.Tensor:
        indices = draw_indices(config.seed, step, num, images.shape[0])
        real_images = tf.gather(images, indices)
        classes = tf.one_hot(tf.gather(labels, indices), recipe.num_classes) if recipe.num_classes else None
        latents = draw_latents(config.seed, step, Draw.GENERATOR_LATENTS, (num, recipe.latent_dim))
        return update_both(networks, real_images, latents, gamma, classes)

    def train_step(step: tf.Tensor, phase: int = 0) -> tf.Tensor:
        """With penalties in phase 0 alone, where they count for the other phases as well: two programs in all."""
        return compiled(step, 0.0 if phase else recipe.gradient_penalty * recipe.penalty_every)

    return train_step
