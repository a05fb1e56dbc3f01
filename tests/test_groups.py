"""Groups of alike images, which stand in for classes."""

import numpy as np
import pytest

from gan.architectures import group_reader
from gan.backend import Hardware, tf
from gan.checkpoints import Checkpoints
from gan.engine import make_advance
from gan.generate import generate_pixels
from gan.groups import group_middles, order_by_groups
from gan.networks import Networks, load_model, save_model
from gan.relativistic import ask, make_relativistic_step, update_both
from gan.sampling import sample_inputs
from gan.trainer import train
from gan.training import Draw, draw_indices, draw_latents


def groups_of(num_images: int, num_groups: int) -> np.ndarray:
    return np.arange(num_images) * num_groups // num_images


@pytest.mark.parametrize("num_images", [64, 61])
def test_groups_are_of_equal_size_and_of_images_that_are_alike(tiny_images, num_images) -> None:
    images = tiny_images[:num_images]
    order = order_by_groups(images, 8)
    assert sorted(order) == list(range(num_images))
    sizes = np.bincount(groups_of(num_images, 8))
    assert sizes.max() - sizes.min() <= 1
    within = [images[order][groups_of(num_images, 8) == group].var(axis=0).mean() for group in range(8)]
    assert np.mean(within) < 0.6 * images.var(axis=0).mean()
    np.testing.assert_array_equal(order, order_by_groups(images, 8))


def test_two_kinds_that_differ_most_are_the_first_two_groups() -> None:
    images = np.random.default_rng(0).normal(0, 0.05, (40, 28, 28, 1)).astype(np.float32)
    images[::2, :14] += 1
    order = order_by_groups(images, 2)
    assert {frozenset(order[:20] % 2), frozenset(order[20:] % 2)} == {frozenset({0}), frozenset({1})}


def test_the_generator_reads_the_group_off_a_latent_as_often_as_any_other(tiny_grouped) -> None:
    reader = group_reader(tiny_grouped.recipe)
    latents = np.random.default_rng(0).standard_normal((8000, 8)).astype(np.float32)
    read = reader(latents).numpy()
    np.testing.assert_array_equal(read[:, :7], latents[:, 1:])
    np.testing.assert_allclose(read[:, 7:].mean(axis=0), 0.25, atol=0.02)
    latents[:4, 0] = group_middles(4)
    np.testing.assert_array_equal(reader(latents[:4]).numpy()[:, 7:], np.eye(4))


def test_the_compiled_step_asks_for_the_groups_of_its_real_images(tiny_grouped, tiny_images) -> None:
    config, images = tiny_grouped, tiny_images[order_by_groups(tiny_images, 4)]
    compiled, by_hand = (Networks.build(config.recipe, seed=0) for _ in range(2))
    row = make_advance(make_relativistic_step(compiled, tf.constant(images), config), 1, 4)(1, 2)[0]
    at = tf.constant(1, tf.int64)
    indices = draw_indices(config.seed, at, 8, 64)
    asked = ask(config.recipe, draw_latents(config.seed, at, Draw.GENERATOR_LATENTS, (8, 8)), indices, 64)
    np.testing.assert_array_equal(asked.kinds, np.eye(4)[groups_of(64, 4)[indices.numpy()]])
    np.testing.assert_array_equal(group_reader(config.recipe)(asked.inputs)[:, 7:], asked.kinds)
    np.testing.assert_allclose(row, update_both(by_hand, tf.constant(images[indices]), asked, 0.0), rtol=1e-4)
    for one, other in zip(compiled.variables, by_hand.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_a_trained_generator_draws_each_kind_as_often_as_it_is_there(tiny_grouped, tmp_path) -> None:
    """Four kinds of a quarter of the image each; whoever draws latents knows nothing of groups."""
    kinds = np.arange(400) % 4
    images = np.full((400, 28, 28, 1), -1, np.float32)
    for image, kind in zip(images, kinds, strict=True):
        image[7 * kind : 7 * kind + 7] = 0.8
    images += np.random.default_rng(0).normal(0, 0.05, images.shape).astype(np.float32)
    config = tiny_grouped.model_copy(update={"steps": 300, "batch_size": 32, "sample_every": 100})
    config = config.model_copy(update={"recipe": config.recipe.model_copy(update={"average_half_life_images": 2000})})
    trained = train(images, config, Checkpoints(tmp_path), Hardware("CPU", "CPU"))
    save_model(trained.average, tmp_path / "average.keras")
    average = load_model(tmp_path / "average.keras")
    pixels = generate_pixels(average, sample_inputs(average, 400, seed=5)).astype(float)
    shares = np.bincount(pixels.reshape(400, 4, 196).mean(axis=2).argmax(axis=1), minlength=4) / 400
    np.testing.assert_allclose(shares, 0.25, atol=0.06)
