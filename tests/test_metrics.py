import numpy as np
import pytest

from gan.features import pixel_features
from gan.judging import judge
from gan.metrics import frechet_distance, total_variation


def gaussian(mean: float, deviation: float, seed: int, n: int = 4000, d: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, deviation, (n, d))


def test_identical_sets_are_at_distance_zero() -> None:
    features = gaussian(0, 1, seed=0)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)


def test_the_distance_of_two_gaussians_is_the_closed_form() -> None:
    """For isotropic Gaussians d^2 = d * ((m1 - m2)^2 + (s1 - s2)^2)."""
    distance = frechet_distance(gaussian(0, 1, seed=0, n=200_000), gaussian(0.5, 2, seed=1, n=200_000))
    assert distance == pytest.approx(6 * (0.5**2 + 1**2), rel=0.01)


def test_the_distance_agrees_with_the_matrix_square_root_by_eigenvalues_of_the_product() -> None:
    """Another route to the same trace: the eigenvalues of S_r S_f itself, which is not symmetric."""
    rng = np.random.default_rng(0)
    real, fake = (rng.normal(size=(500, 5)) @ rng.normal(size=(5, 5)) + rng.normal(size=5) for _ in range(2))
    real_covariance, fake_covariance = np.cov(real.T), np.cov(fake.T)
    eigenvalues = np.linalg.eigvals(real_covariance @ fake_covariance)
    trace = np.trace(real_covariance) + np.trace(fake_covariance) - 2 * np.sqrt(eigenvalues).real.sum()
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum() + trace
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(real, fake) == pytest.approx(frechet_distance(fake, real), rel=1e-9)


def test_a_collapsed_generator_is_far_from_real() -> None:
    real = gaussian(0, 1, seed=0)
    collapsed = np.zeros_like(real)
    assert frechet_distance(real, collapsed) == pytest.approx(6, rel=0.05)


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (np.zeros((9, 3)), np.zeros((9, 4)), r"shapes \(9, 3\) and \(9, 4\)"),
        (np.zeros((1, 3)), np.zeros((9, 3)), "n, m > 1"),
        (np.zeros((9, 3)), np.full((9, 3), np.nan), "not finite"),
    ],
)
def test_features_that_do_not_fit_are_refused(real, fake, message) -> None:
    with pytest.raises(ValueError, match=message):
        frechet_distance(real, fake)


def test_salt_and_pepper_raises_total_variation_and_flat_images_have_none() -> None:
    flat = np.full((4, 28, 28), 100, np.uint8)
    assert total_variation(flat) == 0
    noisy = np.random.default_rng(0).choice([0, 255], (4, 28, 28)).astype(np.uint8)
    assert total_variation(noisy) == pytest.approx(127.5, rel=0.05)
    ramp = np.broadcast_to(np.arange(28, dtype=np.uint8), (2, 28, 28))
    assert total_variation(ramp) == 0.5, "one grey level across, none down"


def test_pixel_features_are_the_image_as_a_vector_in_the_unit_range() -> None:
    pixels = np.arange(784, dtype=np.uint16).reshape(1, 28, 28).astype(np.uint8)
    features = pixel_features(pixels)
    assert features.shape == (1, 784)
    np.testing.assert_allclose(features[0] * 255, pixels.ravel())


def test_judging_real_images_gives_the_floor_and_noise_is_worse(tiny_images) -> None:
    pixels = np.rint((tiny_images[..., 0] + 1) * 127.5).astype(np.uint8)
    train, test = pixels[:40], pixels[40:]
    noise = np.random.default_rng(0).integers(0, 256, (24, 28, 28), dtype=np.uint8)
    distance, variation = judge(train, test, noise, test, seed=0)
    assert (distance.extractor, variation.extractor) == ("pixels784", "grey levels")
    for metric in (distance, variation):
        assert metric.n == 24
        assert metric.value > 2 * metric.floor
    assert distance.average == pytest.approx(0, abs=1e-6)
    assert variation.average == pytest.approx(variation.floor, rel=0.3)
