import itertools

import numpy as np
import pytest

from gan.models.architectures import IMAGE_SHAPE
from gan.models.backend import keras, tf
from gan.models.networks import Networks
from gan.training.draws import Draw, draw_indices, draw_latents_by_xla
from gan.training.engine import make_run_steps
from gan.training.losses import relativistic_loss
from gan.training.relativistic import (
    discriminator_loss,
    make_relativistic_step,
    pair_logits,
    penalized_gradients,
    plain_gradients,
    update_both,
)


@pytest.fixture
def networks(tiny_mlp) -> Networks:
    return Networks.build(tiny_mlp.recipe, seed=0)


def test_the_discriminators_loss_is_that_of_pairs_and_its_penalty_that_of_both_halves(networks, tiny_images) -> None:
    """Of a discriminator that is linear: D(x) = w x, with a gradient of w everywhere."""
    networks.discriminator = keras.Sequential([keras.Input(IMAGE_SHAPE), keras.layers.Flatten(), keras.layers.Dense(1)])
    (weights, _) = networks.discriminator.get_weights()
    real, fake = tiny_images[:8], tiny_images[8:16] / 2
    images = tf.concat([real, fake], axis=0)
    logits = pair_logits(networks, images, None)
    loss = discriminator_loss(logits, None)
    ahead = (real.reshape(8, -1) - fake.reshape(8, -1)) @ weights
    assert float(loss) == pytest.approx(np.log1p(np.exp(-ahead)).mean(), rel=1e-4)
    np.testing.assert_allclose(logits.real - logits.fake, ahead, rtol=1e-4)
    plain, penalized = plain_gradients(networks, images, None), penalized_gradients(networks, images, 0.3, None)
    added = penalized.by_weight[0] - plain.by_weight[0]
    np.testing.assert_allclose(
        added, 0.3 / 2 * 2 * (2 * weights), rtol=1e-3, atol=1e-6
    )  # of gamma / 2 (R1 + R2), both w^2


def test_the_generators_update_is_through_the_discriminator_as_it_was(tiny_mlp, tiny_images) -> None:
    """With a discriminator that learns nothing, the generator ends with the same weights."""
    still, learning = (Networks.build(tiny_mlp.recipe, seed=0) for _ in range(2))
    still.d_optimizer.learning_rate.assign(0.0)
    latents = tf.random.stateless_normal((8, 8), seed=(0, 0))
    for networks in (still, learning):
        update_both(networks, tf.constant(tiny_images[:8]), latents, 0.2, None)
    for one, other in zip(still.generator.variables, learning.generator.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(still.discriminator.variables[0], learning.discriminator.variables[0])


def test_one_pass_back_gives_the_gradient_that_the_generators_own_loss_has(tiny_mlp, tiny_images) -> None:
    """Seen in Adam's first moment, which is the gradient here (beta 1 is 0), with and without penalties."""
    real, latents = tf.constant(tiny_images[:8]), tf.random.stateless_normal((8, 8), seed=(0, 0))
    for gamma, ahead in itertools.product((0.0, 0.8), (0.1, 20, 50)):
        networks = Networks.build(tiny_mlp.recipe, seed=0)
        fake = networks.generator(latents, training=True)
        farthest = float(tf.reduce_max(abs(networks.discriminator(real) - networks.discriminator(fake))))
        last = networks.discriminator.layers[-1].kernel
        last.assign(last * (ahead / farthest))  # so far is one logit of a pair ahead of the other
        with tf.GradientTape() as tape:
            fake_logits = networks.discriminator(networks.generator(latents, training=True))
            loss = relativistic_loss(winners=fake_logits, losers=networks.discriminator(real))
        expected = tape.gradient(loss, networks.generator.trainable_variables)
        update_both(networks, real, latents, gamma, None)
        moments = [variable for variable in networks.g_optimizer.variables if variable.path.endswith("momentum")]
        assert len(moments) == len(expected)
        for moment, gradient in zip(moments, expected, strict=True):
            np.testing.assert_allclose(moment, gradient, rtol=1e-3, atol=1e-6)


def test_the_losses_go_the_way_that_each_network_wants(tiny_mlp, tiny_images) -> None:
    networks, latents = Networks.build(tiny_mlp.recipe, seed=0), tf.random.stateless_normal((8, 8), seed=(0, 0))
    networks.g_optimizer.learning_rate.assign(0.0)
    d_losses = [update_both(networks, tf.constant(tiny_images[:8]), latents, 0.2, None)[0] for _ in range(20)]
    assert d_losses[-1] < d_losses[0]
    networks.g_optimizer.learning_rate.assign(4e-4)
    networks.d_optimizer.learning_rate.assign(0.0)
    g_losses = [update_both(networks, tf.constant(tiny_images[:8]), latents, 0.2, None)[2] for _ in range(20)]
    assert g_losses[-1] < g_losses[0]


def test_the_compiled_steps_are_the_algorithm_with_penalties_every_fourth(tiny_mlp, tiny_images) -> None:
    images = tf.constant(tiny_images)
    compiled, by_hand = (Networks.build(tiny_mlp.recipe, seed=0) for _ in range(2))
    assert (tiny_mlp.recipe.gradient_penalty, tiny_mlp.recipe.penalty_every) == (0.2, 4)
    run_steps = make_run_steps(make_relativistic_step(compiled, images, tiny_mlp, None), steps_per_call=4, period=4)
    rows = np.concatenate([run_steps(0, 4), run_steps(4, 7)])
    for number, row in enumerate(rows):
        step = tf.constant(number, tf.int64)
        real = tf.gather(images, draw_indices(tiny_mlp.seed, step, 8, len(tiny_images)))
        latents = draw_latents_by_xla(tiny_mlp.seed, step, Draw.GENERATOR_LATENTS, (8, 8))
        gamma = 0.8 if number % 4 == 0 else 0.0
        np.testing.assert_allclose(row, update_both(by_hand, real, latents, gamma, None), rtol=1e-4)
    for one, other in zip(compiled.variables, by_hand.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
