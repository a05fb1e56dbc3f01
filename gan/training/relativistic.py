"""One iteration of the recipes after the article: a relativistic loss, gradient penalties, both networks in one go.

R3GAN (Huang et al. 2025, arXiv:2501.05441) without its networks. What differs from the article's iteration:

    one batch of latents, and one pass of the generator in training mode, for both networks
    discriminator: one update on pairs of a real and a generated image, every few steps with R1 and R2 (as lazily as in
        StyleGAN2, Karras et al. 2020, arXiv:1912.04958, section 3.1)
    generator: its update is through the discriminator as it was before that
    recipes with kinds, which are classes or groups (`gan.training.groups`): the generator is asked for the kinds of the
        real images, so each pair is of one kind; and the discriminator learns to tell a real image from one that is
        said to be of another kind, as in GAN-CLS (Reed et al. 2016, arXiv:1605.05396, section 4.2)

Randomness is a function of (seed, step), as in `gan.training.article`.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from gan.config import TrainConfig
from gan.models.backend import tf
from gan.models.networks import Networks
from gan.recipes import Recipe
from gan.training.draws import Draw, draw_indices, draw_latents
from gan.training.groups import group_numbers
from gan.training.losses import gradient_penalty, ranking_accuracy, relativistic_loss
from gan.training.step import TrainStep, is_compiled_by_xla


class Kinds(NamedTuple):
    """What both networks are told of a batch, in recipes with classes or groups of images."""

    one_hot: tf.Tensor  # float32 (n, num_kinds), of the real images and so of the generated ones
    mismatch_weight: float  # of the loss on real images that are said to be of another kind


Inputs: TypeAlias = tf.Tensor | list[tf.Tensor]
"""As the generator takes them: latents, float32 (n, latent_dim); with classes [latents, one-hot classes]."""


class Logits(NamedTuple):
    """What the discriminator says of n pairs of a real and a generated image; float32 (n, 1) each."""

    real: tf.Tensor
    fake: tf.Tensor
    mismatched: tf.Tensor | None  # of the real images, said to be of the kind of the next one; None without kinds


class Gradients(NamedTuple):
    """What one look of the discriminator at real and generated images gives."""

    by_weight: list[tf.Tensor]  # of the discriminator's loss and penalties
    by_fake_image: tf.Tensor  # of the generator's loss, (n, 28, 28, 1)
    logits: Logits


MAX_AHEAD = 60.0
"""Of a logit over another: far beyond it neither factor of a gradient could be written in float32."""


def look(networks: Networks, images: tf.Tensor, kinds: Kinds | None = None) -> Logits:
    """The discriminator's logits of real and generated images, in one pass: no layer of it mixes images.

    Args:
        networks: The discriminator is used.
        images: float32 (2 n, 28, 28, 1) in [-1, 1]: real ones, then as many generated ones.
        kinds: Of each pair, whose logit counts; None where there is one logit.
    """
    real, fake = tf.split(networks.discriminator(images, training=True), 2)
    if kinds is None:
        return Logits(real, fake, None)
    others = tf.roll(kinds.one_hot, 1, axis=0)
    return Logits(
        *(
            tf.reduce_sum(logits * told, axis=1, keepdims=True)
            for logits, told in ((real, kinds.one_hot), (fake, kinds.one_hot), (real, others))
        )
    )


def discriminator_loss(logits: Logits, kinds: Kinds | None = None) -> tf.Tensor:
    """The relativistic loss of real against generated images; with kinds, of the right against another one as well.

    Where the other kind happens to be the right one the second is constant, and has no gradient.

    Args:
        logits: Of n pairs.
        kinds: As they were looked at with.

    Returns:
        float32 scalar.
    """
    loss = relativistic_loss(winners=logits.real, losers=logits.fake)
    if kinds is not None:
        loss += kinds.mismatch_weight * relativistic_loss(winners=logits.real, losers=logits.mismatched)
    return loss


def plain_gradients(networks: Networks, images: tf.Tensor, kinds: Kinds | None = None) -> Gradients:
    """Of the losses alone, in one pass back through the discriminator, which serves both networks.

    The generator's loss is the discriminator's of the negated difference of logits: softplus(x), not softplus(-x). So
    its gradient by a generated image is that of the discriminator's loss times -softplus'(x) / softplus'(-x) = -exp(x).
    What is said of kinds is of real images alone, and does not reach it.

    Args:
        networks: The discriminator is used.
        images: float32 (2 n, 28, 28, 1): real ones, then generated ones.
        kinds: As for `look`.
    """
    weights = networks.discriminator.trainable_variables
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = look(networks, images, kinds)
        loss = discriminator_loss(logits, kinds)
    *by_weight, by_image = tape.gradient(loss, [*weights, images])
    factors = -tf.exp(tf.clip_by_value(logits.real - logits.fake, -MAX_AHEAD, MAX_AHEAD))
    return Gradients(by_weight, _scaled(by_image, factors), logits)


def penalized_gradients(networks: Networks, images: tf.Tensor, gamma: float, kinds: Kinds | None = None) -> Gradients:
    """The same with the penalties gamma / 2 (R1 + R2) on the discriminator: eq. 4 of R3GAN.

    Args:
        networks: The discriminator is used.
        images: float32 (2 n, 28, 28, 1): real ones, then generated ones.
        gamma: Weight of the penalties.
        kinds: As for `look`.
    """
    weights = networks.discriminator.trainable_variables
    with tf.GradientTape() as tape:
        with tf.GradientTape() as image_tape:
            image_tape.watch(images)
            logits = look(networks, images, kinds)
            both = tf.concat([logits.real, logits.fake], axis=0)
        slopes = image_tape.gradient(both, images)
        # the penalty is a mean over both halves, so half of R1 + R2
        total = discriminator_loss(logits, kinds) + gamma * gradient_penalty(slopes)
    factors = -tf.sigmoid(logits.real - logits.fake) / tf.cast(tf.shape(logits.real)[0], slopes.dtype)
    return Gradients(tape.gradient(total, weights), _scaled(slopes, factors), logits)


def _scaled(by_image: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Gradients by the generated images, each times its factor."""
    return tf.split(by_image, 2)[1] * factors[:, :, tf.newaxis, tf.newaxis]


def both_gradients(
    networks: Networks, real_images: tf.Tensor, inputs: Inputs, gamma: float, kinds: Kinds | None = None
) -> tuple[list[tf.Tensor], Gradients]:
    """Gradients of both networks at their present weights.

    Args:
        networks: The moving statistics of the generator's BatchNormalization change.
        real_images: float32 (n, 28, 28, 1) in [-1, 1].
        inputs: Of n images.
        gamma: Weight of the penalties; 0 for none.
        kinds: Of the real images, as `inputs` ask for; None for networks that are told of none.

    Returns:
        Of the generator's loss by its weights; and what the discriminator gave.
    """
    with tf.GradientTape() as tape:
        fake_images = networks.generator(inputs, training=True)
    images = tf.concat([real_images, fake_images], axis=0)
    found = penalized_gradients(networks, images, gamma, kinds) if gamma else plain_gradients(networks, images, kinds)
    weights = networks.generator.trainable_variables
    return tape.gradient(fake_images, weights, output_gradients=found.by_fake_image), found


def update_both(
    networks: Networks, real_images: tf.Tensor, inputs: Inputs, gamma: float, kinds: Kinds | None = None
) -> tf.Tensor:
    """One Adam update of each network, of gradients at the same weights.

    Args:
        networks: Changed in place.
        real_images: As for `both_gradients`, like the arguments after it.
        inputs: Of n images.
        gamma: Weight of the penalties in this iteration; 0 for none.
        kinds: Of the real images, or None.

    Returns:
        Discriminator's loss on the pairs and accuracy, generator's loss, all before the updates; float32 (3,).
    """
    g_gradients, found = both_gradients(networks, real_images, inputs, gamma, kinds)
    networks.d_optimizer.apply(found.by_weight, networks.discriminator.trainable_variables)
    networks.g_optimizer.apply(g_gradients, networks.generator.trainable_variables)
    real, fake, _ = found.logits
    losses = relativistic_loss(winners=real, losers=fake), relativistic_loss(winners=fake, losers=real)
    return tf.stack([losses[0], ranking_accuracy(real, fake), losses[1]])


Ask = Callable[[tf.Tensor, tf.Tensor], tuple[Inputs, Kinds | None]]
"""What images are generated of beside real ones, and what the discriminator is told of both.

Takes int32 (n,), indices of the real images, and latents, float32 (n, latent_dim).
"""


def make_ask(recipe: Recipe, kinds: np.ndarray | None) -> Ask:
    """How a recipe asks for images of the kinds of the real ones; or for any, if it has no kinds.

    Args:
        recipe: Of the training.
        kinds: int (num_images,), of the training split (`gan.training.groups.find_kinds`); None for a recipe without.

    Raises:
        ValueError: If there are kinds for a recipe without, or none for one with.
    """
    if (kinds is None) != (not recipe.num_kinds):
        raise ValueError(f"make_ask got kinds {kinds} for a recipe with {recipe.num_kinds} of them.")
    if kinds is None:
        return lambda _, latents: (latents, None)
    of_images = tf.constant(kinds, tf.int32)
    numbers = tf.constant(group_numbers(kinds, recipe.num_groups)) if recipe.num_groups else None

    def ask(indices: tf.Tensor, latents: tf.Tensor) -> tuple[Inputs, Kinds]:
        asked = tf.gather(of_images, indices)
        told = Kinds(tf.one_hot(asked, recipe.num_kinds), recipe.mismatch_weight)
        if numbers is None:
            return [latents, told.one_hot], told
        first = tf.gather(numbers, asked)[:, tf.newaxis]
        return tf.concat([first, latents[:, 1:]], axis=1), told

    return ask


def make_relativistic_step(
    networks: Networks, images: tf.Tensor, config: TrainConfig, kinds: np.ndarray | None = None
) -> TrainStep:
    """Compile one iteration.

    Args:
        networks: Changed in place by every call.
        images: The training split, float32 (n, 28, 28, 1) in [-1, 1], resident on the device.
        config: Batch size, seed and recipe.
        kinds: int (n,), of the images; None for recipes without.
    """
    num, recipe, ask = config.batch_size, config.recipe, make_ask(config.recipe, kinds)

    @tf.function(jit_compile=is_compiled_by_xla(recipe), autograph=False)
    def compiled(step: tf.Tensor, gamma: float) -> tf.Tensor:
        indices = draw_indices(config.seed, step, num, images.shape[0])
        latents = draw_latents(config.seed, step, Draw.GENERATOR_LATENTS, (num, recipe.latent_dim))
        inputs, told = ask(indices, latents)
        return update_both(networks, tf.gather(images, indices), inputs, gamma, told)

    def train_step(step: tf.Tensor, phase: int = 0) -> tf.Tensor:
        """With penalties in phase 0 alone, where they count for the other phases as well: two programs in all."""
        return compiled(step, 0.0 if phase else recipe.gradient_penalty * recipe.penalty_every)

    return train_step
