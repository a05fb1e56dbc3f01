"""The cards as they are, at their full widths."""

import numpy as np
import pytest

from gan.backend import Hardware
from gan.checkpoints import Checkpoints
from gan.config import TrainConfig
from gan.recipes import CONDITIONAL, CONV, CONV_GPU, RECIPES, Recipe
from gan.trainer import train


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_card_trains_at_its_full_widths(recipe: Recipe, tiny_images, tmp_path) -> None:
    config = TrainConfig(recipe=recipe, steps=9, batch_size=4, sample_every=8, num_snapshot_images=9)
    trained = train(tiny_images, config, Checkpoints(tmp_path), Hardware("CPU", "CPU"), labels=np.arange(64) % 10)
    assert np.isfinite(trained.history).all()
    assert trained.discriminator.output_shape == (None, max(1, recipe.num_classes))
    first, last = trained.snapshots[0].astype(int), trained.snapshots[-1].astype(int)
    assert np.abs(last - first).mean() > 1, "grey levels"


def test_conv_gpu_is_conv_wider_and_longer_and_conditional_is_conv_with_classes() -> None:
    sizes = {"steps", "batch_size", "latent_dim", "generator_units", "discriminator_units"}
    tuned = {"learning_rate", "average_half_life_images"}
    told = {"name", "paper", "num_classes"}
    assert _differences(CONV, CONV_GPU) <= {"name"} | sizes | tuned
    assert all(getattr(CONV_GPU, size) > getattr(CONV, size) for size in sizes)
    assert _differences(CONV, CONDITIONAL) == told


def _differences(one: Recipe, other: Recipe) -> set[str]:
    return {name for name, value in one if value != getattr(other, name)}
