import numpy as np
import pytest

from gan.models.latents import sample_inputs
from gan.models.networks import Networks
from gan.recipes import ARTICLE
from gan.training.averaging import AVERAGE_EVERY, estimate_batch_norm_statistics, make_update_average


@pytest.fixture
def networks(tiny_config) -> Networks:
    networks = Networks.build(tiny_config.recipe, seed=0)
    for weight in networks.generator.trainable_variables:
        weight.assign(np.ones(weight.shape))
    for weight in networks.average.trainable_variables:
        weight.assign(np.zeros(weight.shape))
    return networks


def test_after_a_half_life_half_of_the_old_average_is_left(networks) -> None:
    recipe = ARTICLE.model_copy(update={"average_half_life_images": 3 * AVERAGE_EVERY * 8})
    update = make_update_average(networks, recipe, batch_size=8)
    for _ in range(3):
        update(10**6, AVERAGE_EVERY)  # far beyond the ramp-up
    for weight in networks.average.trainable_variables:
        np.testing.assert_allclose(weight, 0.5, rtol=1e-5)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_early_in_training_the_half_life_is_a_share_of_the_images_seen(networks, share) -> None:
    recipe = ARTICLE.model_copy(update={"average_half_life_images": 10**9, "average_ramp_up": share})
    make_update_average(networks, recipe, batch_size=8)(AVERAGE_EVERY, AVERAGE_EVERY)
    expected = 1 - 0.5 ** (1 / share)
    np.testing.assert_allclose(networks.average.trainable_variables[0], expected, rtol=1e-5)


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
