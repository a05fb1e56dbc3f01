"""Recipes with classes: conditioning of both networks, and generation of a requested class."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from builders import write_own_data
from narrowing import not_none

from bench.asked_classes import fit_to_real, measure
from flows.settings import RunSettings
from gan.data.samples import load_samples, save_samples
from gan.errors import SettingsError
from gan.generate import _find_label
from gan.models.backend import Hardware, keras, tf
from gan.models.generation import class_counts, generate_paths, generate_pixels
from gan.models.latents import draw_labels, sample_inputs
from gan.models.networks import Networks, load_model, save_model
from gan.recipes import RECIPES
from gan.report.comparison import ContestantFiles, load_contestant
from gan.training.checkpoints import Checkpoints
from gan.training.draws import Draw, draw_indices, draw_latents
from gan.training.engine import make_run_steps
from gan.training.loop import train
from gan.training.losses import relativistic_loss
from gan.training.relativistic import (
    Conditions,
    discriminator_loss,
    make_relativistic_step,
    pair_logits,
    penalized_gradients,
    plain_gradients,
    update_both,
)


@pytest.fixture
def networks(tiny_conditional) -> Networks:
    return Networks.build(tiny_conditional.recipe, seed=0)


def test_labels_are_drawn_with_the_frequencies_of_others_and_in_random_order() -> None:
    labels = draw_labels(np.repeat([2, 0, 1], [500, 300, 200]), 100, seed=0)
    assert np.bincount(labels).tolist() == [30, 20, 50]
    assert (np.diff(labels) != 0).sum() > 20
    np.testing.assert_array_equal(labels, draw_labels(np.repeat([0, 1, 2], [3, 2, 5]), 100, seed=0))
    assert draw_labels(np.array([4]), 3, seed=0).tolist() == [4, 4, 4]


def test_a_generator_with_classes_has_them_as_an_input_also_when_loaded(networks, tmp_path) -> None:
    inputs = sample_inputs(networks.generator, 30, seed=1)
    assert inputs.latents.shape == (30, 8)
    assert np.bincount(not_none(inputs.labels)).tolist() == [10, 10, 10]
    save_model(networks.generator, tmp_path / "generator.keras")
    loaded = load_model(tmp_path / "generator.keras")
    assert [tensor.name for tensor in loaded.inputs] == ["latents", "classes"]
    again = sample_inputs(loaded, 30, seed=1)
    np.testing.assert_array_equal(generate_pixels(networks.generator, inputs), generate_pixels(loaded, again))
    assert inputs[:7].latents.shape == (7, 8)
    assert inputs[:7].classes.shape == (7, 3)


def test_each_path_between_latents_stays_within_a_class(networks) -> None:
    inputs = sample_inputs(networks.generator, 3, seed=1)
    paths = generate_paths(networks.generator, inputs, 5)
    starts = generate_pixels(networks.generator, inputs)
    assert paths.shape == (10, 28, 28)
    np.testing.assert_allclose(paths[[0, 5]].astype(int), starts[:2].astype(int), atol=1)


def test_the_logit_of_the_images_own_class_is_used(networks, tiny_images) -> None:
    images, labels = tf.constant(tiny_images[:16]), np.array([0, 1, 2, 2, 1, 0, 1, 1])
    logits = networks.discriminator(images).numpy()
    classes = Conditions(tf.one_hot(labels, 3), 0.5)
    logits_of_pairs = pair_logits(networks, images, classes)
    np.testing.assert_allclose(logits_of_pairs.real[:, 0], logits[np.arange(8), labels], rtol=1e-5)
    np.testing.assert_allclose(logits_of_pairs.fake[:, 0], logits[np.arange(8, 16), labels], rtol=1e-5)
    np.testing.assert_allclose(
        not_none(logits_of_pairs.mismatched)[:, 0], logits[np.arange(8), np.roll(labels, 1)], rtol=1e-5
    )
    pairs, mismatches = (
        relativistic_loss(logits_of_pairs.real, logits_of_pairs.fake),
        relativistic_loss(logits_of_pairs.real, logits_of_pairs.mismatched),
    )
    assert float(discriminator_loss(logits_of_pairs, classes)) == pytest.approx(float(pairs + 0.5 * mismatches))


def test_the_loss_on_mismatched_classes_does_not_reach_the_generator(networks, tiny_images) -> None:
    """It involves real images only, so the generator's gradient is the same without it."""
    images, one_hot = tf.constant(tiny_images[:16]), tf.one_hot([0, 1, 2, 2, 1, 0, 1, 1], 3)
    for gradients in (plain_gradients, partial(penalized_gradients, gamma=0.3)):
        without, weighted = (
            gradients(networks, images, conditions=Conditions(one_hot, weight)) for weight in (0.0, 1.0)
        )
        np.testing.assert_allclose(weighted.by_fake_image, without.by_fake_image, rtol=1e-4, atol=1e-9)
        assert not np.allclose(weighted.by_weight[-1], without.by_weight[-1], rtol=1e-2), (
            "the discriminator's gradient differs"
        )


def test_the_compiled_step_conditions_on_the_classes_of_its_real_images(tiny_conditional, tiny_images) -> None:
    config, labels = tiny_conditional, np.arange(64) * 7 % 3
    compiled, by_hand = (Networks.build(config.recipe, seed=0) for _ in range(2))
    step = make_relativistic_step(compiled, tf.constant(tiny_images), config, labels)
    assert (config.recipe.gradient_penalty, config.recipe.penalty_every) == (0.2, 4)
    for number, row in enumerate(make_run_steps(step, 1, 4)(0, 2)):
        at = tf.constant(number, tf.int64)
        indices = draw_indices(config.seed, at, 8, 64).numpy()
        latents = draw_latents(config.seed, at, Draw.GENERATOR_LATENTS, (8, 8))
        classes, gamma = Conditions(tf.one_hot(labels[indices], 3), 1.0), 0.0 if number else 0.8
        by_hand_row = update_both(
            by_hand, tf.constant(tiny_images[indices]), [latents, classes.one_hot], gamma, classes
        )
        np.testing.assert_allclose(row, by_hand_row, rtol=1e-3)
    for one, other in zip(compiled.variables, by_hand.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_a_trained_generator_draws_the_class_that_is_requested(tiny_conditional, tmp_path, monkeypatch) -> None:
    """In each of three classes, of different frequency, another third of the image is bright; none is confused.

    Collapse is checked within the most frequent class: a generator that ignores its latents still differs by class.
    """
    checked = []
    monkeypatch.setattr("gan.training.guards.find_collapse", lambda *given: checked.append(given) or ())
    labels = np.repeat([0, 1, 2], [300, 150, 50])
    images = np.full((500, 28, 28, 1), -1, np.float32)
    for image, label in zip(images, labels, strict=True):
        image[9 * label + 1 : 9 * label + 9] = 0.8
    config = tiny_conditional.model_copy(update={"steps": 300, "batch_size": 32, "sample_every": 100})
    config = config.model_copy(update={"recipe": config.recipe.model_copy(update={"average_half_life_images": 2000})})
    trained = train(images, config, Checkpoints(tmp_path), Hardware("CPU", "CPU"), labels=labels)
    for generator in (trained.generator, trained.average):
        inputs = sample_inputs(generator, 99, seed=5)
        assert (brightest_third(generate_pixels(generator, inputs)) == inputs.labels).mean() >= 0.95
    ((fakes, real_spread, _),) = checked
    assert (brightest_third(fakes[..., 0]) == 0).mean() >= 0.95
    assert real_spread == pytest.approx(0, abs=1e-5), "of images that are all the same"


def brightest_third(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(float)[:, :27].reshape(len(pixels), 3, 9, 28).mean(axis=(2, 3)).argmax(axis=1)


def test_a_recipe_with_classes_has_as_many_as_its_data(tmp_path) -> None:
    data = write_own_data(tmp_path / "mine")
    settings = {"dataset": "squares", "data_dir": data}
    for recipe, expected in (("conditional", 3), ("conv", 0), ("article", 0)):
        assert RunSettings(**settings, recipe=recipe).run_config().train.recipe.num_classes == expected
    with pytest.raises(SettingsError, match=r"--set got num_classes=4, but squares has 3 classes"):
        RunSettings(**settings, recipe="conditional", set=("num_classes=4",)).run_config()


def test_a_runs_content_has_the_whole_card_of_its_recipe() -> None:
    for name, card in RECIPES.items():
        content = RunSettings(recipe=name).run_config().content().model_dump(mode="json")
        assert content["train"]["recipe"] == card.model_dump(mode="json")


def test_a_class_can_be_requested_by_name_and_number(networks, tiny_conv, tmp_path, call) -> None:
    run = tmp_path / "run"
    run.mkdir()
    save_model(networks.generator, run / "generator_average.keras")
    counts = {"Trouser": 5, "Ankle boot": 5, "Bag": 0}
    (run / "data_summary.json").write_text(json.dumps({"train": {"images_per_class": counts}}))
    drawn = []
    for number, name in enumerate(("ankle boot", "1", "")):
        out = tmp_path / f"{number}.npz"
        requested = ["--class", name] if name else []
        assert call("gan.generate", run, "--num-images", 6, *requested, "--out", out)[0] == 0
        with np.load(out) as arrays:
            drawn.append((arrays["images"], arrays["labels"]))
    assert drawn[0][1].tolist() == [1] * 6
    np.testing.assert_array_equal(drawn[0][0], drawn[1][0])
    assert sorted(drawn[2][1]) == [0, 0, 0, 1, 1, 1], "of a class without training images none"
    for asked in ("Bag", "2"):
        code, shown = call("gan.generate", run, "--class", asked, "--out", tmp_path / "x.png")
        assert code == 1
        assert f"--class got '{asked}', but {run} had no training images of Bag" in shown

    code, shown = call("gan.generate", run, "--class", "Hat", "--out", tmp_path / "x.png")
    assert code == 1
    assert "--class got 'Hat'; the classes are 0 Trouser, 1 Ankle boot, 2 Bag." in shown
    save_model(Networks.build(tiny_conv.recipe, seed=0).generator, run / "generator_average.keras")
    code, shown = call("gan.generate", run, "--class", "Bag", "--out", tmp_path / "x.png")
    assert code == 1
    assert "is not class-conditional" in shown
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(("given", "label"), [("a", 1), ("A", 0), ("b", 2), ("2", 2), ("0", 3)])
def test_a_class_is_found_by_its_exact_name_before_similar_ones(networks, given, label) -> None:
    assert _find_label(given, networks.generator, dict.fromkeys(["A", "a", "B", "0"], 1), Path("run")) == label


def test_a_comparison_of_two_runs_shows_no_class_without_training_images(networks, tmp_path, monkeypatch) -> None:
    files = ContestantFiles("run", *(tmp_path / name for name in ("g.keras", "s.npz", "a.npz", "data_summary.json")))
    save_model(networks.generator, files.average)
    for path in (files.samples, files.average_samples):
        save_samples(np.zeros((2, 28, 28), np.uint8), path)
    counts = {"Trouser": 5, "Bag": 0, "Coat": 15}
    files.data_summary.write_text(json.dumps({"train": {"images_per_class": counts}}))
    drawn = []
    monkeypatch.setattr("gan.report.comparison.generate_pixels", lambda _, inputs: drawn.append(inputs.labels))
    load_contestant(files, seed=0)
    assert [np.bincount(labels).tolist() for labels in drawn] == [[8, 0, 24]]
    counts = dict.fromkeys(counts, 0)
    files.data_summary.write_text(json.dumps({"train": {"images_per_class": counts}}))
    assert class_counts(files.data_summary, networks.generator) == {}, "made up: nothing was trained on no images"


def test_samples_of_requested_classes_contain_their_labels(tmp_path) -> None:
    pixels = np.arange(2 * 784, dtype=np.uint8).reshape(2, 28, 28)
    save_samples(pixels, tmp_path / "samples.npz", np.array([3, 1]))
    np.testing.assert_array_equal(load_samples(tmp_path / "samples.npz"), pixels)
    with np.load(tmp_path / "samples.npz") as arrays:
        assert arrays["labels"].tolist() == [3, 1]


def fit_linear_classifier(images: np.ndarray, labels: np.ndarray, num_classes: int, *, seed: int) -> keras.Model:
    inputs = keras.Input((28, 28, 1))
    features = keras.layers.Flatten()(inputs)
    classifier = keras.Model(inputs, [features, keras.layers.Dense(num_classes, use_bias=False)(features)])
    kernel, *_ = np.linalg.lstsq(images.reshape(len(images), -1), np.eye(num_classes)[labels])
    classifier.set_weights([kernel])
    return classifier


def test_a_generator_of_correct_classes_scores_like_real_images_and_one_that_confuses_them_does_not(
    monkeypatch,
) -> None:
    """Bars at three heights, which a generator without a hidden layer draws exactly, and linear classifiers."""
    monkeypatch.setattr("bench.asked_classes.fit_classifier", fit_linear_classifier)
    bars = np.zeros((3, 28, 28), np.uint8)
    for label in range(3):
        bars[label, 9 * label + 1 : 9 * label + 9] = 230
    labels = np.arange(24) % 3
    noise = np.random.default_rng(0).integers(0, 20, (24, 28, 28), dtype=np.uint8)
    data = bars[labels] + noise, labels
    latents, classes = keras.Input((2,)), keras.Input((3,))
    pixels = keras.layers.Dense(784, use_bias=False)(classes)
    generator = keras.Model([latents, classes], keras.layers.Reshape((28, 28, 1))(pixels))
    generator.set_weights([bars.reshape(3, 784) / 127.5 - 1])
    of_real, right = fit_to_real(data, data, seed=0)
    exact = measure(generator, of_real, data, data, seed=0)
    assert (right, exact.score, exact.asked) == (1.0, 1.0, 1.0)
    generator.set_weights([bars[[1, 0, 2]].reshape(3, 784) / 127.5 - 1])  # two are mixed up
    mistaken = measure(generator, of_real, data, data, seed=0)
    assert mistaken.asked == mistaken.score == pytest.approx(1 / 3)
