"""One training iteration of the other recipes: relativistic loss, gradient penalties, one update of each network.

R3GAN (Huang et al. 2025, arXiv:2501.05441) without its architecture. Differences from the article's iteration:

    one batch of latents, and one pass of the generator in training mode, serve both networks
    discriminator: one update on pairs of a real and a generated image; R1 and R2 penalties every few steps ("lazy
        regularization" of StyleGAN2, Karras et al. 2020, arXiv:1912.04958, section 3.1)
    generator: its gradient is computed with the discriminator's weights before that update
    conditioning on classes or groups (`gan.training.groups`): the generator receives the conditions of the real images,
        so both images of a pair have the same condition; the discriminator also learns to distinguish real images with
        their own condition from real images with another one, as in GAN-CLS (Reed et al. 2016, arXiv:1605.05396,
        section 4.2)

Every random draw is a function of (seed, step), as in `gan.training.article`. In all functions, `images` are
float32 (2 n, 28, 28, 1) in [-1, 1]: n real ones, then n generated ones. `conditions` are those of the n pairs, or None
for a recipe without conditioning. `gamma` is the weight of the gradient penalties; 0 means none.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from gan.config import TrainConfig
from gan.models.backend import tf
from gan.models.networks import Networks
from gan.recipe import Recipe
from gan.training.draws import Draw, draw_indices, draw_latents
from gan.training.groups import group_latents
from gan.training.losses import gradient_penalty, ranking_accuracy, relativistic_loss
from gan.training.train_step import TrainStep


class Conditions(NamedTuple):
    """The conditions of a batch, and the weight of the loss on mismatched ones."""

    one_hot: tf.Tensor  # float32 (n, num_conditions), class or group of the real images and so of the generated ones
    mismatch_weight: float  # weight of the loss on real images with the condition of another image


Inputs: TypeAlias = tf.Tensor | list[tf.Tensor]
"""Inputs of the generator: latents, float32 (n, latent_dim); with classes [latents, one-hot classes]."""


class Logits(NamedTuple):
    """The discriminator's logits of n pairs of a real and a generated image; float32 (n, 1) each."""

    real: tf.Tensor
    fake: tf.Tensor
    mismatched: tf.Tensor | None  # of the real images with the previous one's condition; None without conditioning


class Gradients(NamedTuple):
    """The results of one pass through the discriminator."""

    by_weight: list[tf.Tensor]  # gradients of the discriminator's loss and penalties
    by_fake_image: tf.Tensor  # gradient of the generator's loss, float32 (n, 28, 28, 1)
    logits: Logits


MAX_LOGIT_DIFFERENCE = 60.0
"""Bound on a difference of logits whose exponential is taken, so that it neither overflows nor underflows float32."""


def pair_logits(networks: Networks, images: tf.Tensor, conditions: Conditions | None) -> Logits:
    """Compute the logits of real and generated images in one pass; no layer of the discriminator mixes images."""
    real, fake = tf.split(networks.discriminator(images, training=True), 2)
    if conditions is None:
        return Logits(real, fake, None)
    own, others = conditions.one_hot, tf.roll(conditions.one_hot, 1, axis=0)
    pairs = (real, own), (fake, own), (real, others)
    return Logits(*(tf.reduce_sum(logits * one_hot, axis=1, keepdims=True) for logits, one_hot in pairs))


def discriminator_loss(logits: Logits, conditions: Conditions | None) -> tf.Tensor:
    """Return the relativistic loss of real against generated images; with conditioning, add the loss on mismatches.

    Where the other condition happens to equal an image's own, the loss on mismatches is constant and has no gradient.
    """
    loss = relativistic_loss(winners=logits.real, losers=logits.fake)
    if conditions is not None:
        loss += conditions.mismatch_weight * relativistic_loss(winners=logits.real, losers=logits.mismatched)
    return loss


def plain_gradients(networks: Networks, images: tf.Tensor, conditions: Conditions | None) -> Gradients:
    """Compute the gradients of the losses without penalties; one backward pass serves both networks.

    With x = real logit - fake logit, the discriminator minimizes softplus(-x), the generator softplus(x). So the
    gradient of the generator's loss with respect to a generated image is that of the discriminator's loss times
    -softplus'(x) / softplus'(-x) = -exp(x). The loss on mismatches depends on real images only.
    """
    weights = networks.discriminator.trainable_variables
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = pair_logits(networks, images, conditions)
        loss = discriminator_loss(logits, conditions)
    *by_weight, by_image = tape.gradient(loss, [*weights, images])
    factors = -tf.exp(tf.clip_by_value(logits.real - logits.fake, -MAX_LOGIT_DIFFERENCE, MAX_LOGIT_DIFFERENCE))
    return Gradients(by_weight, _scale_by_fake_image(by_image, factors), logits)


def penalized_gradients(
    networks: Networks, images: tf.Tensor, gamma: float, conditions: Conditions | None
) -> Gradients:
    """Compute the gradients with the penalties gamma / 2 (R1 + R2) on the discriminator: eq. 4 of R3GAN."""
    weights = networks.discriminator.trainable_variables
    with tf.GradientTape() as tape:
        with tf.GradientTape() as image_tape:
            image_tape.watch(images)
            logits = pair_logits(networks, images, conditions)
            both = tf.concat([logits.real, logits.fake], axis=0)
        slopes = image_tape.gradient(both, images)
        # the penalty is a mean over real and generated images, which is (R1 + R2) / 2
        total = discriminator_loss(logits, conditions) + gamma * gradient_penalty(slopes)
    factors = -tf.sigmoid(logits.real - logits.fake) / tf.cast(tf.shape(logits.real)[0], slopes.dtype)
    return Gradients(tape.gradient(total, weights), _scale_by_fake_image(slopes, factors), logits)


def _scale_by_fake_image(by_image: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    return tf.split(by_image, 2)[1] * factors[:, :, tf.newaxis, tf.newaxis]


def both_gradients(
    networks: Networks, real_images: tf.Tensor, inputs: Inputs, gamma: float, conditions: Conditions | None
) -> tuple[list[tf.Tensor], Gradients]:
    """Compute the gradients of both networks at their present weights, from n real images and inputs for n fake ones.

    The weights do not change, but the moving statistics of the generator's BatchNormalization do. Return the gradients
    of the generator's loss by its weights, and the results of the pass through the discriminator.
    """
    with tf.GradientTape() as tape:
        fake_images = networks.generator(inputs, training=True)
    images = tf.concat([real_images, fake_images], axis=0)
    if gamma:
        found = penalized_gradients(networks, images, gamma, conditions)
    else:
        found = plain_gradients(networks, images, conditions)
    weights = networks.generator.trainable_variables
    return tape.gradient(fake_images, weights, output_gradients=found.by_fake_image), found


def update_both(
    networks: Networks, real_images: tf.Tensor, inputs: Inputs, gamma: float, conditions: Conditions | None
) -> tf.Tensor:
    """Run one Adam update of each network, with gradients at the same weights; arguments as for `both_gradients`.

    Return the discriminator's loss on the pairs and accuracy, and the generator's loss, all before the updates.
    """
    g_gradients, found = both_gradients(networks, real_images, inputs, gamma, conditions)
    networks.d_optimizer.apply(found.by_weight, networks.discriminator.trainable_variables)
    networks.g_optimizer.apply(g_gradients, networks.generator.trainable_variables)
    real, fake, _ = found.logits
    losses = relativistic_loss(winners=real, losers=fake), relativistic_loss(winners=fake, losers=real)
    return tf.stack([losses[0], ranking_accuracy(real, fake), losses[1]])


def make_conditioner(
    recipe: Recipe, conditions: np.ndarray | None
) -> Callable[[tf.Tensor, tf.Tensor], tuple[Inputs, Conditions | None]]:
    """Return the function that gives generated images the conditions of the real images.

    It maps indices of real images, int32 (n,), and latents, float32 (n, latent_dim), to inputs of the generator and
    conditions of the pairs. `conditions` are those of all training images, int (num_images,), or None.
    """
    if (conditions is None) != (not recipe.num_conditions):
        raise ValueError(f"make_conditioner got conditions {conditions}; the recipe has {recipe.num_conditions}.")
    if conditions is None:
        return lambda _, latents: (latents, None)
    of_images = tf.constant(conditions, tf.int32)
    numbers = tf.constant(group_latents(conditions, recipe.num_groups)) if recipe.num_groups else None

    def condition(indices: tf.Tensor, latents: tf.Tensor) -> tuple[Inputs, Conditions]:
        chosen = tf.gather(of_images, indices)
        of_batch = Conditions(tf.one_hot(chosen, recipe.num_conditions), recipe.mismatch_weight)
        if numbers is None:
            return [latents, of_batch.one_hot], of_batch
        first = tf.gather(numbers, chosen)[:, tf.newaxis]
        return tf.concat([first, latents[:, 1:]], axis=1), of_batch

    return condition


def make_relativistic_step(
    networks: Networks, images: tf.Tensor, config: TrainConfig, conditions: np.ndarray | None
) -> TrainStep:
    """Compile one iteration, which changes the networks in place; arguments as for `build_engine`."""
    num, recipe, condition = config.batch_size, config.recipe, make_conditioner(config.recipe, conditions)

    @tf.function(jit_compile=recipe.uses_xla, autograph=False)
    def compiled(step: tf.Tensor, gamma: float) -> tf.Tensor:
        indices = draw_indices(config.seed, step, num, images.shape[0])
        latents = draw_latents(config.seed, step, Draw.GENERATOR_LATENTS, (num, recipe.latent_dim))
        inputs, of_batch = condition(indices, latents)
        return update_both(networks, tf.gather(images, indices), inputs, gamma, of_batch)

    def train_step(step: tf.Tensor, penalize: bool) -> tf.Tensor:
        """Multiply the penalties by `penalty_every`, to make up for the steps without.

        gamma is a Python number, so this compiles two programs.
        """
        return compiled(step, recipe.gradient_penalty * recipe.penalty_every if penalize else 0.0)

    return train_step
