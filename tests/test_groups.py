"""Groups of similar images, on which recipes without classes are conditioned."""

from functools import partial

import numpy as np
import pytest
from recording_callback import OnStep, Stop, stop_after

from gan.config import TrainConfig
from gan.models.architectures import group_reader
from gan.models.backend import Hardware, tf
from gan.models.generation import generate_paths, generate_pixels
from gan.models.latents import GeneratorInputs, Stream, sample_inputs
from gan.models.networks import Networks, load_model, save_model
from gan.recipe import Recipe
from gan.recipes import CONDITIONAL, CONV
from gan.training.checkpoints import Checkpoints
from gan.training.draws import Draw, draw_indices, draw_latents
from gan.training.engine import make_run_steps
from gan.training.groups import find_conditions, find_groups, group_bounds, group_latents
from gan.training.guards import spread
from gan.training.loop import train
from gan.training.relativistic import Conditions, make_conditioner, make_relativistic_step, update_both

GROUPS = np.repeat([0, 1, 2, 3], [32, 16, 12, 4])


@pytest.fixture
def stripes() -> tuple[np.ndarray, np.ndarray]:
    """400 images with a bright quarter, float32 (400, 28, 28, 1), and which quarter; of different frequency."""
    quarters = np.repeat([0, 1, 2, 3], [160, 120, 80, 40])
    images = np.full((400, 28, 28, 1), -1, np.float32)
    for image, quarter in zip(images, quarters, strict=True):
        image[7 * quarter : 7 * quarter + 7] = 0.8
    return images + np.random.default_rng(0).normal(0, 0.01, images.shape).astype(np.float32), quarters


def test_the_images_of_a_group_are_similar(stripes, tiny_images) -> None:
    images, quarters = stripes
    groups = find_groups(images, 12)
    assert groups.dtype == np.int32
    assert len({*zip(groups, quarters, strict=True)}) == len({*groups}) > 4, "no group is of two quarters"
    np.testing.assert_array_equal(groups, find_groups(images, 12))
    found = find_groups(tiny_images, 8)
    within = sum(tiny_images[found == group].var(axis=0).sum() * (found == group).sum() for group in range(8))
    assert within < 0.5 * tiny_images.var(axis=0).sum() * len(tiny_images)


def test_images_are_clustered_in_blocks(stripes, monkeypatch) -> None:
    images, _ = stripes
    groups = find_groups(images, 12)
    monkeypatch.setattr("gan.training.groups.BLOCK_ROWS", 70)
    np.testing.assert_array_equal(find_groups(images, 12), groups)


def test_with_fewer_images_than_groups_each_image_is_a_group_and_equal_images_share_one(tiny_images) -> None:
    groups = find_groups(tiny_images[:5], 9)
    assert sorted(groups) == [0, 1, 2, 3, 4]
    bounds = group_bounds(groups, 9)
    assert len(bounds) == 8
    assert np.all(np.diff(bounds) >= 0)
    assert len({*find_groups(np.zeros((6, 28, 28, 1), np.float32), 3)}) == 1, "without any gradient"


def test_the_generator_reads_each_group_from_latents_as_often_as_it_occurs_in_the_data(tiny_grouped) -> None:
    reader = group_reader(tiny_grouped.recipe, group_bounds(GROUPS, 4))
    latents = np.random.default_rng(0).standard_normal((20_000, 8)).astype(np.float32)
    read = reader(latents).numpy()
    np.testing.assert_array_equal(read[:, :7], latents[:, 1:])
    np.testing.assert_allclose(read[:, 7:].mean(axis=0), [0.5, 0.25, 0.1875, 0.0625], atol=0.01)
    latents[:4, 0] = group_latents(GROUPS, 4)
    np.testing.assert_array_equal(reader(latents[:4]).numpy()[:, 7:], np.eye(4))


@pytest.mark.parametrize("layers", ["dense", "convolutional"])
def test_the_compiled_step_conditions_on_the_groups_of_its_real_images(
    layers, tiny_grouped, tiny_mlp, tiny_images
) -> None:
    """With convolutions the step is a TensorFlow graph, without them an XLA program."""
    conditioning = tiny_grouped.recipe.model_dump(include={"num_groups", "mismatch_weight"})
    recipe: Recipe = (
        tiny_grouped.recipe if layers == "convolutional" else tiny_mlp.recipe.model_copy(update=conditioning)
    )
    config: TrainConfig = tiny_grouped.model_copy(update={"recipe": recipe})
    build = partial(Networks.build, recipe, seed=0, group_bounds=group_bounds(GROUPS, 4))
    compiled, by_hand = build(), build()
    row = make_run_steps(make_relativistic_step(compiled, tf.constant(tiny_images), config, GROUPS), 1, 4)(1, 2)[0]
    at = tf.constant(1, tf.int64)
    indices = draw_indices(config.seed, at, 8, 64)
    draw = tf.function(draw_latents, jit_compile=layers == "dense", autograph=False)
    latents = draw(config.seed, at, Draw.GENERATOR_LATENTS, (8, 8))
    inputs, classes = make_conditioner(recipe, GROUPS)(indices, latents)
    assert isinstance(classes, Conditions)
    np.testing.assert_array_equal(classes.one_hot, np.eye(4)[GROUPS[indices.numpy()]])
    read = group_reader(recipe, group_bounds(GROUPS, 4))(inputs)
    np.testing.assert_array_equal(read[:, 7:], classes.one_hot)
    np.testing.assert_array_equal(read[:, :7], latents[:, 1:])
    by_hand_row = update_both(by_hand, tf.constant(tiny_images[indices]), inputs, 0.0, classes)
    np.testing.assert_allclose(row, by_hand_row, rtol=1e-3)
    for one, other in zip(compiled.variables, by_hand.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_a_trained_generator_draws_each_group_as_often_as_it_occurs_in_the_data(
    stripes, tiny_grouped, tmp_path
) -> None:
    """Its only input are latents, without a group."""
    images, quarters = stripes
    config = tiny_grouped.model_copy(update={"steps": 300, "batch_size": 32, "sample_every": 100})
    more = {"num_groups": 12, "average_half_life_images": 2000}
    config = config.model_copy(update={"recipe": config.recipe.model_copy(update=more)})
    trained = train(images, config, Checkpoints(tmp_path), Hardware("CPU", "CPU"))
    save_model(trained.average, tmp_path / "average.keras")
    average = load_model(tmp_path / "average.keras")
    assert [tensor.name for tensor in average.inputs] == ["latents"]
    pixels = generate_pixels(average, sample_inputs(average, 1000, seed=5)).astype(float)
    drawn = np.bincount(pixels.reshape(1000, 4, 196).mean(axis=2).argmax(axis=1), minlength=4) / 1000
    np.testing.assert_allclose(drawn, np.bincount(quarters) / 400, atol=0.05)


def test_conditions_are_labels_or_groups_or_none(tiny_grouped, tiny_conv, tiny_conditional, tiny_images) -> None:
    """With groups, labels are ignored."""
    labels, groups = np.arange(64) % 3, find_groups(tiny_images, 4)
    for given in (None, labels):
        np.testing.assert_array_equal(find_conditions(tiny_images, tiny_grouped.recipe, given), groups)
    assert find_conditions(tiny_images, tiny_conditional.recipe, labels) is labels
    assert find_conditions(tiny_images, tiny_conv.recipe, labels) is None


def test_a_resumed_training_uses_the_groups_of_its_checkpoint(
    tiny_grouped, tiny_images, tmp_path, monkeypatch, shared_engines
) -> None:
    """Another processor might find other groups."""
    hardware = Hardware("CPU", "CPU")
    uninterrupted = train(tiny_images, tiny_grouped, Checkpoints(tmp_path / "uninterrupted"), hardware)
    checkpoints = Checkpoints(tmp_path / "stopped", seconds_between=0)
    with pytest.raises(Stop):
        train(tiny_images, tiny_grouped, checkpoints, hardware, callbacks=[OnStep(stop_after(7))])
    monkeypatch.setattr("gan.training.groups.find_groups", lambda images, num_groups: np.arange(64) % num_groups)
    resumed = train(tiny_images, tiny_grouped, checkpoints, hardware)
    assert int(resumed.facts["resumed_at_step"]) > 0
    for one, other in zip(uninterrupted.generator.get_weights(), resumed.generator.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(uninterrupted.history, resumed.history)


def test_collapse_is_checked_within_the_most_frequent_group(stripes, tiny_grouped, tmp_path, monkeypatch) -> None:
    """A generator that ignores all but the group still differs from group to group."""
    checked = []
    monkeypatch.setattr("gan.training.loop.CHECK_EVERY", 10)
    monkeypatch.setattr("gan.training.guards.find_collapse", lambda *given: checked.append(given) or ())
    images, _ = stripes
    config = tiny_grouped.model_copy(update={"steps": 10, "batch_size": 32, "sample_every": 10})
    trained = train(images, config, Checkpoints(tmp_path), Hardware("CPU", "CPU"))
    ((fakes, real_spread, _),) = checked
    commonest = np.bincount(find_groups(images, 4)).argmax()
    of_commonest = images[find_groups(images, 4) == commonest]
    assert real_spread == pytest.approx(spread(of_commonest))
    latents = sample_inputs(trained.generator, 64, seed=config.seed, stream=Stream.SNAPSHOTS).latents
    latents[:, 0] = group_latents(find_groups(images, 4), 4)[commonest]
    np.testing.assert_allclose(fakes, trained.generator(latents, training=False), atol=1e-5)


def test_each_path_between_latents_stays_within_a_group(tiny_grouped) -> None:
    generator = Networks.build(tiny_grouped.recipe, seed=0, group_bounds=[-0.5, 0, 0.5]).generator
    inputs = sample_inputs(generator, 3, seed=1)
    paths = generate_paths(generator, inputs, 5)
    within = inputs.latents[:2].copy()
    ends = inputs.latents[1:].copy()
    ends[:, 0] = within[:, 0]
    for number, start, end in zip((0, 1), within, ends, strict=True):
        expected = generate_pixels(generator, GeneratorInputs(np.stack([start, end])))
        np.testing.assert_allclose(paths[[5 * number, 5 * number + 4]].astype(int), expected.astype(int), atol=1)


def test_missing_groups_are_an_error(tiny_grouped) -> None:
    with pytest.raises(ValueError, match="0 bounds for 4 groups"):
        Networks.build(tiny_grouped.recipe, seed=0)
    with pytest.raises(ValueError, match="conditions None; the recipe has 4"):
        make_conditioner(tiny_grouped.recipe, None)


@pytest.mark.parametrize(
    ("card", "changes", "words"),
    [
        (CONDITIONAL, {"num_groups": 4}, "num_groups replace classes"),
        (CONV, {"num_groups": 0}, "mismatch_weight is for recipes with classes or groups"),
    ],
)
def test_a_card_with_contradictory_groups_is_refused(card, changes, words) -> None:
    with pytest.raises(ValueError, match=words):
        Recipe.model_validate(card.model_dump() | changes)
