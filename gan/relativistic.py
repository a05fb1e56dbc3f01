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
from gan.training import Draw, TrainStep, draw_indices, draw_latents, is_compiled_by_xla

MAX_AHEAD = 60.0
"""Of a logit over another: far beyond it neither factor of a gradient could be written in float32."""


def discriminator_loss(
    networks: Networks, images: tf.Tensor, gamma: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Relativistic loss and, for a gamma above 0, the penalties gamma / 2 (R1 + R2): eq. 4 of R3GAN.

    Args:
        networks: The discriminator is used.
        images: float32 (2 n, 28, 28, 1) in [-1, 1]: real ones, then as many generated ones. One pass for all: no layer
            of a discriminator mixes images.
        gamma: Weight of the penalties.

    Returns:
        The loss without penalties and the penalties, float32 scalars; logits of real and generated images, (n, 1).
    """
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

    The generator's loss is the discriminator's of the negated difference of logits: softplus(x), not softplus(-x). So
    its gradient by a generated image is that of the discriminator's loss times -softplus'(x) / softplus'(-x) = -exp(x),
    and one pass back through the discriminator serves both networks.

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
    images = tf.concat([real_images, fake_images], axis=0)
    with tf.GradientTape(persistent=bool(gamma)) as d_tape:
        d_tape.watch(images)
        d_loss, penalties, real_logits, fake_logits = discriminator_loss(networks, images, gamma)
        d_total = d_loss + penalties
    if gamma:  # the penalties are no part of the generator's loss
        d_gradients, by_image = d_tape.gradient(d_total, d_weights), d_tape.gradient(d_loss, images)
    else:
        *d_gradients, by_image = d_tape.gradient(d_loss, [*d_weights, images])
    ahead = tf.clip_by_value(real_logits - fake_logits, -MAX_AHEAD, MAX_AHEAD)[:, :, tf.newaxis, tf.newaxis]
    by_fake_image = -tf.exp(ahead) * tf.split(by_image, 2)[1]
    g_gradients = g_tape.gradient(fake_images, g_weights, output_gradients=by_fake_image)
    g_loss = relativistic_loss(winners=fake_logits, losers=real_logits)
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

    @tf.function(jit_compile=is_compiled_by_xla(recipe), autograph=False)
    def compiled(step: tf.Tensor, gamma: float) -> tf.Tensor:
        real_images = tf.gather(images, draw_indices(config.seed, step, num, images.shape[0]))
        latents = draw_latents(config.seed, step, Draw.GENERATOR_LATENTS, (num, recipe.latent_dim))
        return update_both(networks, real_images, latents, gamma)

    def train_step(step: tf.Tensor, phase: int = 0) -> tf.Tensor:
        """With penalties in phase 0 alone, where they count for the other phases as well: two programs in all."""
        return compiled(step, 0.0 if phase else recipe.gradient_penalty * recipe.penalty_every)

    return train_step
