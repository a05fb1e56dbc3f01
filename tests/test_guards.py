import numpy as np
import pytest

from gan.training.guards import CERTAIN_STEPS, MIN_STEPS, NUM_SPREAD_IMAGES, find_collapse, some_of, spread

STEPS = max(MIN_STEPS, CERTAIN_STEPS)


def history(accuracy: float, steps: int = STEPS) -> np.ndarray:
    return np.tile(np.array([0.5, accuracy, 1.0], np.float32), (steps, 1))


def test_a_successful_training_shows_no_sign_of_collapse(tiny_images) -> None:
    assert not list(find_collapse(tiny_images, spread(tiny_images), history(0.8)))


def test_nearly_equal_images_are_mode_collapse_with_the_figure(tiny_images) -> None:
    nearly_equal = tiny_images[:1] + 0.01 * tiny_images
    ((title, sentence),) = find_collapse(nearly_equal, spread(tiny_images), history(0.8))
    assert title == "Mode collapse"
    assert f"after {STEPS:,} steps" in sentence
    assert "1.0% as much" in sentence


def test_a_discriminator_that_has_been_right_for_a_long_time_is_a_sign_of_collapse(tiny_images) -> None:
    ((title, sentence),) = find_collapse(tiny_images, spread(tiny_images), history(0.999))
    assert title == "Saturated discriminator"
    assert "99.90%" in sentence
    mixed = np.concatenate([history(1.0), history(0.9, CERTAIN_STEPS)])
    assert not list(find_collapse(tiny_images, spread(tiny_images), mixed)), "it was certain only at the beginning"


@pytest.mark.parametrize("column", [0, 2])
def test_very_large_losses_for_a_long_time_are_a_sign_of_divergence(tiny_images, column) -> None:
    diverged = history(0.8)
    diverged[:, column] = -3e9
    ((title, sentence),) = find_collapse(tiny_images, spread(tiny_images), diverged)
    assert title == "Divergence"
    assert "3e+09" in sentence
    diverged[: STEPS // 2 + 10, column] = 1.0
    assert not list(find_collapse(tiny_images, spread(tiny_images), diverged)), "only for less than half of the steps"


@pytest.mark.parametrize(("relative", "accuracy", "signs"), [(0.06, 0.99, 0), (0.04, 0.99, 1), (0.06, 0.996, 1)])
def test_signs_of_collapse_begin_at_their_thresholds(tiny_images, relative, accuracy, signs) -> None:
    middle = tiny_images.mean(axis=0)
    fakes = middle + relative * (tiny_images - middle)
    assert len(list(find_collapse(fakes, spread(tiny_images), history(accuracy)))) == signs


@pytest.mark.parametrize("steps", [1, MIN_STEPS - 1])
def test_an_untrained_generator_shows_no_sign_of_collapse(tiny_images, steps) -> None:
    assert not list(find_collapse(tiny_images * 0, spread(tiny_images), history(1.0, steps)))


def test_the_spread_of_real_images_is_that_of_all_classes_though_images_are_sorted_by_class() -> None:
    chosen = some_of(np.arange(3 * NUM_SPREAD_IMAGES))
    assert len(set(chosen.tolist())) == NUM_SPREAD_IMAGES
    np.testing.assert_allclose(np.bincount(chosen // NUM_SPREAD_IMAGES), NUM_SPREAD_IMAGES / 3, atol=1)
    assert some_of(np.array([4, 7])).tolist() == [4, 7]
