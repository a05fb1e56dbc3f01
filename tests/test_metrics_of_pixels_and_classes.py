"""Metrics of pixels and of predicted classes, compared with SciPy and closed forms."""

import numpy as np
import pytest
from scipy import stats

from gan.judging.features import Features
from gan.judging.metrics.classes import class_entropy
from gan.judging.metrics.pixels import intensity_distance, intensity_histograms, total_variation


def test_class_entropy_equals_scipys() -> None:
    classes = np.random.default_rng(0).integers(0, 7, 200)
    assert class_entropy(classes, 10) == pytest.approx(stats.entropy(np.bincount(classes), base=2))
    assert class_entropy(np.arange(1000) % 10, 10) == pytest.approx(np.log2(10))


def test_collapse_lowers_class_entropy_to_zero() -> None:
    entropy = class_entropy(np.full(100, 3), 10)
    assert entropy == 0
    assert not np.signbit(entropy), "shown as -0"


def test_class_entropy_has_the_documented_bias() -> None:
    rng = np.random.default_rng(0)
    found = np.mean([class_entropy(rng.integers(0, 10, 200), 10) for _ in range(400)])
    assert np.log2(10) - found == pytest.approx(9 / (2 * 200 * np.log(2)), rel=0.1)


def test_confidence_is_the_probability_of_the_predicted_class() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(Features(np.zeros((3, 1)), probabilities).confidence, [0.5, 1, 1 / 3])


def ramps(n: int) -> np.ndarray:
    return np.broadcast_to(8 * np.arange(28, dtype=np.uint8), (n, 28, 28)).copy()


def test_total_variation_is_zero_for_flat_images_and_proportional_to_the_slope_of_a_ramp() -> None:
    assert not total_variation(np.full((4, 28, 28), 100, np.uint8)).any()
    np.testing.assert_array_equal(total_variation(ramps(2)), 4), "eight grey levels across, none down"
    np.testing.assert_array_equal(total_variation(255 - ramps(2)), 4), "falling as well as rising"


def test_salt_and_pepper_raises_total_variation_and_intensity_distance() -> None:
    rng, clean = np.random.default_rng(0), ramps(20)
    noisy = np.where(rng.random(clean.shape) < 0.1, rng.choice([0, 255], clean.shape), clean).astype(np.uint8)
    assert (total_variation(noisy) > 2 * total_variation(clean)).all()
    of_clean, of_noisy = (intensity_histograms(pixels) for pixels in (clean, noisy))
    assert intensity_distance(of_clean, of_clean) == 0
    assert intensity_distance(of_clean, of_noisy) > 5
    chance = rng.choice([0, 255], (4, 28, 28)).astype(np.uint8)
    assert total_variation(chance).mean() == pytest.approx(127.5, rel=0.05)


def test_intensity_histograms_count_the_grey_levels_of_each_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    for image, histogram in zip(pixels, intensity_histograms(pixels), strict=True):
        np.testing.assert_allclose(histogram, np.bincount(image.ravel(), minlength=256) / 784, rtol=1e-6)


def test_intensity_distance_equals_scipys_wasserstein_distance() -> None:
    rng = np.random.default_rng(0)
    real = rng.integers(0, 200, (6, 28, 28), dtype=np.uint8)
    fake = rng.integers(50, 256, (9, 28, 28), dtype=np.uint8)
    distance = intensity_distance(intensity_histograms(real), intensity_histograms(fake))
    assert distance == pytest.approx(stats.wasserstein_distance(real.ravel(), fake.ravel()), rel=1e-5)


def test_the_number_of_images_adds_no_rounding_errors_to_the_intensity_distance() -> None:
    """Sums in float32, as the histograms are, would make it 0.09 here."""
    one = intensity_histograms(np.random.default_rng(0).integers(0, 256, (1, 28, 28), dtype=np.uint8))
    many = np.broadcast_to(one, (100_000, 256))
    assert intensity_distance(many, one) == pytest.approx(0, abs=1e-9)
