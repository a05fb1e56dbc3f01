"""One iteration of the recipes after the article: a relativistic loss, gradient penalties, both networks in one go.

R3GAN (Huang et al. 2025, arXiv:2501.05441) without its networks. What differs from the article's iteration:

    one batch of latents, and one pass of the generator in training mode, for both networks
    discriminator: one update on pairs of a real and a generated image, every few steps with R1 and R2 (as lazily as in
        StyleGAN2, Karras et al. 2020, arXiv:1912.04958, section 3.1)
    generator: its update is through the discriminator as it was before that

Randomness is a function of (seed, step), as in `gan.training`.
"""

from gan.backend import tf
from gan.config import TrainConfig
from gan.losses import gradient_penalty, ranking_accuracy, relativistic_loss
from gan.networks import Networks
from gan.training import Draw, TrainStep, draw_indices, draw_latents


def discriminator_loss(
    networks: Networks, real_images: tf.Tensor, fake_images: tf.Tensor, gamma: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Relativistic loss and, for a gamma above 0, the penalties gamma / 2 (R1 + R2): eq. 4 of R3GAN.

    Args:
        networks: The discriminator is used.
        real_images: float32 (n, 28, 28, 1) in [-1, 1].
        fake_images: As many generated ones.
        gamma: Weight of the penalties.

    Returns:
        The loss without penalties and the penalties, float32 scalars; logits of real and generated images, (n, 1).
    """
    images = tf.concat([real_images, fake_images], axis=0)  # one pass for all: no layer mixes images
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = networks.discriminator(images, training=True)
    real_logits, fake_logits = tf.split(logits, 2)
    loss = relativistic_loss(winners=real_logits, losers=fake_logits)
    # the penalty is a mean over both halves, so half of R1 + R2
    penalties = gamma * gradient_penalty(tape.gradient(logits, images)) if gamma else tf.zeros(())
    return loss, penalties, real_logits, fake_logits


def update_both(networks: Networks, real_images: tf.Tensor, latents: tf.Tensor, gamma: float) -> tf.Tensor:
    """One Adam update of each network, of gradients at the same weights.

    Args:
        networks: Changed in place.
        real_images: float32 (n, 28, 28, 1) in [-1, 1].
        latents: float32 (n, latent_dim).
        gamma: Weight of the penalties in this iteration.

    Returns:
        Discriminator's loss (without penalties) and accuracy, generator's loss, all before the updates; float32 (3,).
    """
    g_weights, d_weights = networks.generator.trainable_variables, networks.discriminator.trainable_variables
    with tf.GradientTape() as g_tape:
        fake_images = networks.generator(latents, training=True)
        with tf.GradientTape() as d_tape:
            d_loss, penalties, real_logits, fake_logits = discriminator_loss(
                networks, real_images, tf.stop_gradient(fake_images), gamma
            )
            d_total = d_loss + penalties
        g_loss = relativistic_loss(
            winners=networks.discriminator(fake_images, training=True), losers=tf.stop_gradient(real_logits)
        )
    d_gradients, g_gradients = d_tape.gradient(d_total, d_weights), g_tape.gradient(g_loss, g_weights)
    networks.d_optimizer.apply(d_gradients, d_weights)
    networks.g_optimizer.apply(g_gradients, g_weights)
    return tf.stack([d_loss, ranking_accuracy(real_logits, fake_logits), g_loss])


def make_relativistic_step(networks: Networks, images: tf.Tensor, config: TrainConfig) -> TrainStep:
    """Compile one iteration.

    Args:
        networks: Changed in place by every call.
        images: The training split, float32 (n, 28, 28, 1) in [-1, 1], resident on the device.
        config: Batch size, seed and recipe.
    """
    num, recipe = config.batch_size, config.recipe

    @tf.function(jit_compile=True, autograph=False)
    def compiled(step: tf.Tensor, gamma: float) -> tf.Tensor:
        real_images = tf.gather(images, draw_indices(config.seed, step, num, images.shape[0]))
        latents = draw_latents(config.seed, step, Draw.GENERATOR_LATENTS, (num, recipe.latent_dim))
        return update_both(networks, real_images, latents, gamma)

    def train_step(step: tf.Tensor, phase: int = 0) -> tf.Tensor:
        """With penalties in phase 0 alone, where they count for the other phases as well: two programs in all."""
        return compiled(step, 0.0 if phase else recipe.gradient_penalty * recipe.penalty_every)

    return train_step
