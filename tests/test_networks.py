from typing import get_args

import numpy as np
import pytest

from gan.errors import StoreError
from gan.models.backend import keras
from gan.models.latents import sample_inputs
from gan.models.networks import build_discriminator, build_generator, build_optimizer, load_model, save_model
from gan.recipes import ARTICLE, RECIPES, RecipeName


def count(variables) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


def test_the_articles_networks_have_the_articles_weights() -> None:
    generator, discriminator = build_generator(ARTICLE, seed=0), build_discriminator(ARTICLE, seed=0)
    assert count(generator.variables) == 1_493_520
    assert count(generator.trainable_variables) == 1_489_936
    assert count(discriminator.variables) == count(discriminator.trainable_variables) == 533_505


def test_the_generator_is_built_layer_by_layer_as_the_article_says() -> None:
    layer_types = [type(layer).__name__ for layer in build_generator(ARTICLE, seed=0).layers]
    assert layer_types == ["Dense", "LeakyReLU", "BatchNormalization"] * 3 + ["Dense", "Reshape"]
    norms = [layer for layer in build_generator(ARTICLE, seed=0).layers if "batch_norm" in layer.name]
    assert {layer.momentum for layer in norms} == {0.8}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_every_recipes_networks_take_latents_to_images_and_images_to_a_logit(recipe) -> None:
    """With classes: latents and classes to images; with classes or groups: images to a logit for each."""
    bounds = np.linspace(-1, 1, recipe.num_groups - 1).tolist() if recipe.num_groups else ()
    generator = build_generator(recipe, seed=0, group_bounds=bounds)
    images = np.asarray(generator(sample_inputs(generator, 3, seed=0).arrays, training=False))
    assert images.shape == (3, 28, 28, 1)
    assert np.abs(images).max() <= 1
    assert np.asarray(build_discriminator(recipe, seed=0)(images)).shape == (3, max(1, recipe.num_conditions))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_the_numbers_of_a_card_are_those_of_optimizer_and_layers(recipe) -> None:
    optimizer = build_optimizer(recipe)
    found = optimizer.beta_1, optimizer.beta_2, optimizer.epsilon, float(optimizer.learning_rate)
    expected = recipe.adam_beta_1, recipe.adam_beta_2, recipe.adam_epsilon, recipe.learning_rate
    assert found == pytest.approx(expected)
    layers = build_discriminator(recipe, seed=0).layers
    slopes = {layer.negative_slope for layer in layers if isinstance(layer, keras.layers.LeakyReLU)}
    assert list(slopes) == pytest.approx([recipe.leaky_relu_slope])


@pytest.mark.parametrize("build", [build_generator, build_discriminator])
def test_initial_weights_depend_on_the_seed_only(build) -> None:
    first, second, other = (build(ARTICLE, seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_recipes_have_the_names_that_the_option_accepts() -> None:
    assert set(RECIPES) == set(get_args(RecipeName))
    assert all(name == recipe.name for name, recipe in RECIPES.items())


def test_a_saved_generator_gives_equal_bytes_and_equal_images(tiny_config, tmp_path) -> None:
    """The file contains no addresses in memory: the two models have different policy objects here."""
    for number in range(2):
        keras.config.set_dtype_policy(keras.DTypePolicy("float32"))
        generator = build_generator(tiny_config.recipe, seed=5)
        save_model(generator, tmp_path / f"{number}.keras")
    paths = [tmp_path / "0.keras", tmp_path / "1.keras"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    latents = np.ones((2, 8), np.float32)
    loaded = load_model(paths[0])
    np.testing.assert_array_equal(loaded(latents, training=False), generator(latents, training=False))


def test_a_file_that_is_not_a_model_is_a_clear_error(tmp_path) -> None:
    path = tmp_path / "generator.keras"
    path.write_bytes(b"nonsense")
    with pytest.raises(StoreError, match=f"no model that Keras {keras.__version__} can load"):
        load_model(path)
