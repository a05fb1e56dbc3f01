"""The recipes' cards, at their full widths."""

import numpy as np
import pytest

from gan.config import TrainConfig
from gan.errors import SettingsError
from gan.models.backend import Hardware, keras
from gan.models.generation import generate_pixels
from gan.models.latents import sample_inputs
from gan.models.networks import Networks
from gan.option_values import override
from gan.recipe import Recipe
from gan.recipes import ARTICLE, CONDITIONAL, CONDITIONAL_GPU, CONV, CONV_GPU, MLP, RECIPES
from gan.training.checkpoints import Checkpoints
from gan.training.groups import find_groups, group_bounds
from gan.training.loop import train


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(recipe, id=name, marks=[] if recipe is ARTICLE else [pytest.mark.drill])
        for name, recipe in RECIPES.items()
    ],
)
def test_two_trainings_of_every_card_at_its_full_widths_give_the_same_bytes(
    recipe: Recipe, tiny_images, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(
        "gan.training.loop.NUM_STATISTICS_LATENTS", 500
    )  # with the default the widest network takes minutes
    num = 4 if recipe in (CONV_GPU, CONDITIONAL_GPU) else recipe.batch_size
    config = TrainConfig(recipe=recipe, steps=9, batch_size=num, sample_every=8, num_snapshot_images=9)
    num_groups = recipe.num_groups
    bounds = group_bounds(find_groups(tiny_images, num_groups), num_groups) if num_groups else ()
    before = weights(Networks.build(recipe, config.seed, group_bounds=bounds).generator)
    one, other = (
        train(tiny_images, config, Checkpoints(tmp_path / name), Hardware("CPU", "CPU"), labels=np.arange(64) % 10)
        for name in ("one", "other")
    )
    assert np.isfinite(one.history).all()
    assert one.discriminator.output_shape == (None, max(1, recipe.num_conditions))
    assert not any(np.array_equal(old, new) for old, new in zip(before, weights(one.generator), strict=True))
    for part in ("generator", "discriminator", "average"):
        for mine, yours in zip(getattr(one, part).get_weights(), getattr(other, part).get_weights(), strict=True):
            np.testing.assert_array_equal(mine, yours)


def weights(model: keras.Model) -> list[np.ndarray]:
    return [weight.numpy() for weight in model.trainable_variables]


def test_conv_gpu_is_conv_wider_and_longer_and_conditional_has_classes_for_groups() -> None:
    sizes = {"steps", "batch_size", "latent_dim", "generator_units", "discriminator_units"}
    tuned = {"learning_rate", "average_half_life_images"}
    conditioning = {"name", "paper", "num_classes", "num_groups"}
    assert _differences(CONV, CONV_GPU) <= {"name"} | sizes | tuned
    assert all(getattr(CONV_GPU, size) > getattr(CONV, size) for size in sizes)
    assert _differences(CONV, CONDITIONAL) == conditioning
    assert _differences(CONV_GPU, CONDITIONAL_GPU) == conditioning | {"mismatch_weight"}


def _differences(one: Recipe, other: Recipe) -> set[str]:
    return {name for name, value in one if value != getattr(other, name)}


@pytest.mark.drill
def test_conv_gpu_trains_correctly_at_a_small_size(tmp_path) -> None:
    """The networks are narrow, with few groups, a larger learning rate and a shorter half-life.

    The images have all degrees of brightness, and their lower half is as dark as their upper half is bright: the
    generator has to learn the whole range and this relation.
    """
    small = {"latent_dim": 8, "generator_units": (16, 12, 8), "discriminator_units": (8, 12, 16), "num_groups": 5}
    quick = {"learning_rate": 1e-3, "average_half_life_images": 2000}
    brightness = np.linspace(-0.9, 0.9, 200, dtype=np.float32)
    images = np.empty((200, 28, 28, 1), np.float32)
    images[:, :14], images[:, 14:] = (sign * brightness[:, np.newaxis, np.newaxis, np.newaxis] for sign in (1, -1))
    images += np.random.default_rng(0).normal(0, 0.05, images.shape).astype(np.float32)
    config = TrainConfig(recipe=CONV_GPU.model_copy(update=small | quick), steps=400, batch_size=32, sample_every=400)
    average = train(images, config, Checkpoints(tmp_path), Hardware("CPU", "CPU")).average
    pixels = generate_pixels(average, sample_inputs(average, 200, seed=1)) / 127.5 - 1
    above, below = pixels[:, :14].mean(axis=(1, 2)), pixels[:, 14:].mean(axis=(1, 2))
    assert np.corrcoef(above, below)[0, 1] < -0.95
    assert above.std() == pytest.approx(brightness.std(), rel=0.25)
    assert below.std() == pytest.approx(brightness.std(), rel=0.25)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latent_dim": "1"}, "greater than or equal to 2"),
        ({"latent_dim": "10000000000000"}, "less than or equal to 1024"),
        ({"generator_units": "[999999999999]"}, "less than or equal to 2048"),
        ({"discriminator_units": "[true,8]"}, "valid integer"),
        ({"generator_units": "[1,1,1,1,1,1,1,1,1]"}, "at most 8 items"),
    ],
)
def test_a_card_with_values_out_of_range_is_refused(changes, words) -> None:
    with pytest.raises(SettingsError, match=words):
        override(MLP, changes)


def test_without_conditions_there_is_no_loss_on_mismatches() -> None:
    plain = override(CONV, {"num_groups": "0"})
    assert (plain.num_conditions, plain.mismatch_weight) == (0, 0.0)
    assert override(CONDITIONAL, {"num_groups": "0"}) == CONDITIONAL
    with pytest.raises(SettingsError, match="mismatch_weight is for recipes with classes or groups"):
        override(CONV, {"num_groups": "0", "mismatch_weight": "1"})
