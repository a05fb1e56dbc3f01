import numpy as np
import pytest
from builders import put_data, smooth_pixels

from gan.config import SampleConfig
from gan.data.pixels import normalize_images
from gan.judging.metrics.two_sample import balanced_accuracy
from gan.judging.two_sample_network import TwoSampleResult, num_training_images, real_against_real, two_sample_test
from gan.models.generation import generate_pixels
from gan.models.latents import Stream, sample_inputs
from gan.models.networks import build_generator, save_model
from tasks.two_sample import separate

N = 256


def noisy(pixels: np.ndarray, amount: int) -> np.ndarray:
    """Add up to `amount` grey levels to each pixel."""
    noise = np.random.default_rng(0).integers(0, amount + 1, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def test_slight_noise_is_told_from_real_images() -> None:
    real, unseen = smooth_pixels(N, 0), smooth_pixels(N, 1)
    fake, unseen_fake = noisy(smooth_pixels(N, 2), 8), noisy(smooth_pixels(N, 3), 8)
    result = two_sample_test(real, fake, unseen, unseen_fake, seed=0)
    assert result.accuracy > 0.9
    assert result.fake_logits.shape == (N,)
    assert result.fake_logits.mean() < 0 < result.real_logits.mean()


def test_real_images_are_not_told_from_real_images() -> None:
    result = real_against_real(smooth_pixels(4 * N, 0), smooth_pixels(N, 1), num=N, seed=0)
    assert result.accuracy == pytest.approx(0.5, abs=0.1)  # three standard errors of 427 images


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_ones() -> None:
    sets = [noisy(smooth_pixels(40, seed), 20 * (seed % 2)) for seed in range(4)]
    one, other, third = (two_sample_test(*sets, seed=seed, epochs=5) for seed in (0, 0, 1))
    assert one.fake_logits.tobytes() == other.fake_logits.tobytes()
    assert one.fake_logits.tobytes() != third.fake_logits.tobytes()


def test_the_images_of_the_floor_are_disjoint_parts_of_the_training_split(monkeypatch) -> None:
    asked: list[np.ndarray] = []
    monkeypatch.setattr("gan.judging.two_sample_network.two_sample_test", lambda *sets, **_: asked.extend(sets))
    pixels, unseen = np.random.default_rng(0).integers(0, 256, (2, 120, 28, 28), dtype=np.uint8)
    real_against_real(pixels, unseen, num=num_training_images(120, 100), seed=0)
    of_training = [{image.tobytes() for image in asked[place]} for place in (0, 1, 3)]
    assert [len(images) for images in of_training] == [50, 50, 20]
    assert len(set.union(*of_training)) == 120
    assert set.union(*of_training) == {image.tobytes() for image in pixels}
    np.testing.assert_array_equal(asked[2], unseen)


def test_an_accuracy_counts_both_kinds_equally_however_many_there_are() -> None:
    assert balanced_accuracy(np.ones(1), np.array([-1.0, -1, -1, 1])) == pytest.approx((1 + 3 / 4) / 2)


def test_the_numbers_of_training_images() -> None:
    assert num_training_images(60_000, 10_000) == 25_000
    assert num_training_images(60_000, 1000) == 2500
    assert num_training_images(120, 10_000) == 50


def test_sets_of_different_sizes_are_refused() -> None:
    pixels = smooth_pixels(3, 0)
    with pytest.raises(ValueError, match="got 3 real and 2 generated images"):
        two_sample_test(pixels, pixels[:2], pixels, pixels, seed=0)


def test_the_stage_trains_on_other_images_than_it_tests_on(store, tiny_config, monkeypatch) -> None:
    """It tests on the run's samples and on the test split."""
    asked: list[np.ndarray] = []

    def remember(*sets: np.ndarray, **_: object) -> TwoSampleResult:
        asked.extend(sets)
        return TwoSampleResult(np.ones(1, np.float32), np.ones(1, np.float32))

    monkeypatch.setattr("gan.judging.two_sample_network.two_sample_test", remember)
    train_pixels, test_pixels = smooth_pixels(120, 0), smooth_pixels(30, 1)
    data = put_data(store, normalize_images(train_pixels))
    data = data.model_copy(update={"test_images": store.put_array(normalize_images(test_pixels))})
    generator = build_generator(tiny_config.recipe, seed=5)
    average = store.put_file(lambda path: save_model(generator, path), ".keras")
    separate.task.fn(store, data, average, SampleConfig(num_images=100, seed=4), None, "cpu")
    real, fake, unseen_real, unseen_fake = asked
    samples = generate_pixels(generator, sample_inputs(generator, 100, seed=4, like_labels=np.zeros(120, int)))
    np.testing.assert_array_equal(unseen_fake, samples)
    np.testing.assert_array_equal(unseen_real, test_pixels)
    assert not {image.tobytes() for image in fake} & {image.tobytes() for image in samples}
    assert {image.tobytes() for image in real} < {image.tobytes() for image in train_pixels}


def test_each_purpose_has_latents_of_its_own(tiny_config) -> None:
    generator = build_generator(tiny_config.recipe, seed=5)
    drawn = {sample_inputs(generator, 4, seed=0, stream=stream).latents.tobytes() for stream in Stream}
    assert len(drawn) == len(Stream)
