import numpy as np
import pytest

from gan.config import TrainConfig
from gan.models.backend import tf
from gan.models.latents import sample_inputs
from gan.models.networks import Networks
from gan.recipes import ARTICLE
from gan.training.averaging import AVERAGE_EVERY, _sums, ema_decay, estimate_batch_norm_statistics, update_ema


@pytest.fixture
def networks(tiny_config) -> Networks:
    networks = Networks.build(tiny_config.recipe, seed=0)
    for weight in networks.generator.trainable_variables:
        weight.assign(np.ones(weight.shape))
    for weight in networks.average.trainable_variables:
        weight.assign(np.zeros(weight.shape))
    return networks


def configured(steps: int = 10**7, **changes: object) -> TrainConfig:
    return TrainConfig(recipe=ARTICLE.model_copy(update=changes), batch_size=8, steps=steps, sample_every=10**6)


def test_after_a_half_life_half_of_the_old_average_is_left(networks) -> None:
    config = configured(average_half_life_images=3 * AVERAGE_EVERY * 8)
    beta = ema_decay(config, 80_000)  # far beyond the ramp-up
    for _ in range(3):
        update_ema(networks, beta)
    for weight in networks.average.trainable_variables:
        np.testing.assert_allclose(weight, 0.5, rtol=1e-5)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_early_in_training_the_half_life_is_a_share_of_the_images_seen(share) -> None:
    config = configured(average_half_life_images=10**9, average_ramp_up=share)
    assert ema_decay(config, AVERAGE_EVERY) == pytest.approx(0.5 ** (1 / share))


def test_between_updates_the_average_stays_and_the_last_one_covers_the_remaining_steps() -> None:
    config = configured(steps=19, average_half_life_images=10, average_ramp_up=1.0)
    factors = [ema_decay(config, steps_done) for steps_done in range(1, 20)]
    assert [number for number, factor in enumerate(factors, 1) if factor < 1] == [8, 16, 19]
    assert factors[15] == pytest.approx(0.5 ** (8 * 8 / 10))
    assert factors[18] == pytest.approx(0.5 ** (3 * 8 / 10))


def test_a_gpu_adds_up_activations_as_numpy_does() -> None:
    activations = tf.random.stateless_normal((50, 4, 4, 3), seed=(0, 0), mean=5.0)
    (size, *here), (size_of_gpu, *on_gpu) = (_sums(activations, on_gpu=on_gpu) for on_gpu in (False, True))
    assert size == size_of_gpu == 800
    np.testing.assert_allclose(here, on_gpu, rtol=1e-12)


@pytest.mark.parametrize("config", ["tiny_config", "tiny_conv", "tiny_conditional", "tiny_grouped"])
def test_estimated_statistics_are_those_of_the_inputs_of_each_layer(config, request) -> None:
    recipe = request.getfixturevalue(config).recipe
    generator = Networks.build(recipe, seed=0, group_bounds=[-0.5, 0, 0.5] if recipe.num_groups else ()).generator
    inputs = sample_inputs(generator, 500, seed=0)
    estimate_batch_norm_statistics(generator, inputs)
    activations = inputs.arrays
    for layer in generator.layers:
        if layer.name in ("latents", "classes"):
            continue
        if layer.name.startswith("batch_norm"):
            activations = np.asarray(activations)
            axes = tuple(range(activations.ndim - 1))
            np.testing.assert_allclose(layer.moving_mean, activations.mean(axis=axes), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(layer.moving_variance, activations.var(axis=axes), rtol=1e-3)
        activations = layer(activations, training=False)
