import numpy as np
import pytest
from prdc import compute_prdc
from scipy import linalg
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

from gan.judging.metrics import kernel, neighbours
from gan.judging.metrics.frechet import frechet_distance
from gan.judging.metrics.kernel import kernel_terms
from gan.judging.metrics.neighbours import (
    K_DENSITY_COVERAGE,
    K_PRECISION_RECALL,
    ball_radii,
    density_coverage,
    precision_recall,
    radii_of_balls,
    squared_distances,
)
from gan.judging.metrics.two_sample import fit_logistic_regression, held_out_logits

MODES = 4 * np.eye(5)
"""Centres of five classes, which are well separated for standard deviations of about 0.5."""


def gaussian(mean: float, deviation: float, seed: int, n: int = 600, d: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, deviation, (n, d))


def mixture(labels: np.ndarray, seed: int, deviation: float = 0.5) -> np.ndarray:
    """Draw a point for each label, float32 like features."""
    noise = np.random.default_rng(seed).normal(0, deviation, (len(labels), MODES.shape[1]))
    return (MODES[labels] + noise).astype(np.float32)


def correlated(n: int, seed: int, d: int = 8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)).astype(np.float32)


def by_neighbours(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    """Return the four nearest-neighbour metrics."""
    precise, recalled, *_ = precision_recall(
        real, fake, ball_radii(real, K_PRECISION_RECALL), ball_radii(fake, K_PRECISION_RECALL)
    )
    density, covered, *_ = density_coverage(real, fake, ball_radii(real, K_DENSITY_COVERAGE))
    return {
        "precision": precise.mean(),
        "recall": recalled.mean(),
        "density": density.mean(),
        "coverage": covered.mean(),
    }


def accuracy(real: np.ndarray, fake: np.ndarray) -> float:
    real_logits, fake_logits = held_out_logits(real, fake, np.random.default_rng(0))
    return float(((real_logits > 0).mean() + (fake_logits <= 0).mean()) / 2)


def test_the_frechet_distance_of_identical_sets_is_zero() -> None:
    features = gaussian(0, 1, seed=0)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)


def test_the_frechet_distance_of_two_gaussians_has_the_closed_form() -> None:
    """For isotropic Gaussians d^2 = d * ((m1 - m2)^2 + (s1 - s2)^2)."""
    distance = frechet_distance(gaussian(0, 1, seed=0, n=200_000), gaussian(0.5, 2, seed=1, n=200_000))
    assert distance == pytest.approx(6 * (0.5**2 + 1**2), rel=0.01)


def test_the_frechet_distance_agrees_with_scipys_matrix_square_root() -> None:
    real, fake = correlated(500, seed=0), correlated(400, seed=1)
    real_covariance, fake_covariance = np.cov(real.T.astype(float)), np.cov(fake.T.astype(float))
    root = linalg.sqrtm(real_covariance @ fake_covariance).real
    mean_difference = real.mean(0, dtype=float) - fake.mean(0, dtype=float)
    expected = (mean_difference**2).sum() + np.trace(real_covariance + fake_covariance - 2 * root)
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(real, fake) == pytest.approx(frechet_distance(fake, real), rel=1e-9)


def test_the_frechet_distance_is_biased_upwards_for_small_n_and_the_kernel_distance_is_not() -> None:
    draws = [(gaussian(0, 1, seed=i, n=50), gaussian(0, 1, seed=1000 + i, n=50)) for i in range(60)]
    frechet = [frechet_distance(real, fake) for real, fake in draws]
    unbiased = [kernel_terms(real, fake).mean() for real, fake in draws]
    assert np.mean(frechet) > 5 * np.std(frechet) / np.sqrt(60)
    assert abs(np.mean(unbiased)) < 3 * np.std(unbiased) / np.sqrt(60)


def test_the_frechet_distance_allows_fewer_images_than_features() -> None:
    distance = frechet_distance(gaussian(0, 1, seed=0, n=20, d=96), gaussian(3, 1, seed=1, n=20, d=96))
    assert 9 * 96 < distance < 12 * 96


def test_a_collapsed_generator_is_far_from_real() -> None:
    real = gaussian(0, 1, seed=0, n=4000)
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
def test_the_frechet_distance_refuses_invalid_features(real, fake, message) -> None:
    with pytest.raises(ValueError, match=message):
        frechet_distance(real, fake)


def test_the_kernel_distance_equals_the_formula_with_sklearns_kernel() -> None:
    real, fake = correlated(130, seed=0), correlated(130, seed=1)

    def k(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return polynomial_kernel(x.astype(float), y.astype(float), degree=3, gamma=1 / real.shape[1], coef0=1)

    h = k(real, real) + k(fake, fake) - k(real, fake) - k(fake, real)
    np.fill_diagonal(h, 0)
    terms = kernel_terms(real, fake)
    assert terms.mean() == pytest.approx(h.sum() / (130 * 129), rel=1e-12)
    np.testing.assert_allclose(terms, 2 * h.sum(axis=1) / 129 - terms.mean(), rtol=1e-10, atol=1e-10 * np.abs(h).max())


@pytest.mark.parametrize(("shift", "times"), [(1.0, 1.0), (0.0, np.sqrt(2))], ids=["far apart", "equal distributions"])
def test_the_standard_error_is_the_deviation_over_draws_and_too_large_for_equal_distributions(shift, times) -> None:
    n, distances, errors = 100, [], []
    for seed in range(300):
        terms = kernel_terms(gaussian(0, 1, seed, n, d=4), gaussian(shift, 1, 10_000 + seed, n, d=4))
        distances.append(terms.mean())
        errors.append(terms.std(ddof=1) / np.sqrt(n))
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(times * np.std(distances), rel=0.15)
    if not shift:
        within = np.abs(distances) < 3 * np.array(errors)
        assert within.mean() > 0.99


@pytest.mark.parametrize("shapes", [((9, 3), (8, 3)), ((9, 3), (9, 4)), ((1, 3), (1, 3)), ((9,), (9,))])
def test_the_kernel_distance_refuses_sets_that_cannot_be_paired(shapes) -> None:
    with pytest.raises(ValueError, match="n > 1, for both"):
        kernel_terms(*(np.zeros(shape) for shape in shapes))


def test_precision_recall_density_and_coverage_agree_with_the_authors_code(capsys) -> None:
    real = mixture(np.arange(300) % 5, seed=0)
    fake = mixture(np.arange(240) % 4, seed=1, deviation=0.8)
    by_three = compute_prdc(real, fake, nearest_k=3)
    by_five = compute_prdc(real, fake, nearest_k=5)
    capsys.readouterr()  # discard what it prints
    ours = by_neighbours(real, fake)
    expected = {name: (by_three if name in ("precision", "recall") else by_five)[name] for name in ours}
    assert ours == pytest.approx(expected, rel=1e-12)
    assert all(0.05 < value < 0.95 for value in ours.values()), "no metric is at a bound"


@pytest.mark.parametrize("k", [1, 3, 5])
def test_ball_radii_equal_sklearns_distances_to_the_kth_neighbour(k) -> None:
    features = correlated(201, seed=0)
    distances, _ = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(features.astype(float)).kneighbors()
    np.testing.assert_allclose(np.sqrt(ball_radii(features, k)), distances[:, -1], rtol=1e-6)


def test_too_few_images_for_a_ball_are_refused() -> None:
    with pytest.raises(ValueError, match=r"k = 3 and 3 images"):
        ball_radii(np.zeros((3, 2)), 3)


def test_results_do_not_depend_on_the_block_size(monkeypatch) -> None:
    real, fake = correlated(101, seed=0), correlated(101, seed=1)

    def everything() -> list[np.ndarray]:
        radii = ball_radii(real, 3)
        return [
            kernel_terms(real, fake),
            radii,
            *precision_recall(real, fake, radii, ball_radii(fake, 3)),
            *density_coverage(real, fake, radii),
        ]

    whole = everything()
    for module in (kernel, neighbours):
        monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    for blockwise, expected in zip(everything(), whole, strict=True):
        np.testing.assert_allclose(blockwise, expected, rtol=1e-9)


def test_squared_distances_are_never_negative_and_exact_to_rounding() -> None:
    features = correlated(60, seed=0).astype(float) + 1000
    distances = squared_distances(features, features)
    assert distances.min() >= 0
    expected = ((features[:, np.newaxis] - features) ** 2).sum(axis=2)
    np.testing.assert_allclose(distances, expected, atol=1e-14 * (features**2).sum(axis=1).max())


@pytest.mark.parametrize("distance", [0.0, 0.3, 20.0], ids=["equal", "overlapping", "separable"])
def test_logistic_regression_equals_sklearns(distance) -> None:
    features = np.concatenate([gaussian(0, 1, seed=0, n=150), gaussian(distance, 1, seed=1, n=100)])
    labels = np.arange(250) < 150
    weights, bias = fit_logistic_regression(features, labels)
    expected = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(features, labels)
    np.testing.assert_allclose(weights, expected.coef_[0], rtol=1e-3, atol=1e-4)
    assert bias == pytest.approx(expected.intercept_[0], rel=1e-3, abs=1e-4)


def test_two_sample_accuracy_is_chance_for_equal_distributions_and_high_for_distant_ones() -> None:
    real, equal, far = (gaussian(mean, 1, seed) for seed, mean in enumerate((0, 0, 3)))
    assert accuracy(real, equal) == pytest.approx(0.5, abs=3 * 0.5 / np.sqrt(len(real) + len(equal)))
    assert accuracy(real, far) > 0.99


def test_the_two_sample_test_uses_held_out_images() -> None:
    """With more features than images, a classifier can memorize any labels; only held-out images reveal this."""
    real, fake = gaussian(0, 1, seed=0, n=100, d=300), gaussian(0, 1, seed=1, n=100, d=300)
    features, labels = np.concatenate([real, fake]), np.arange(200) < 100
    weights, bias = fit_logistic_regression(features, labels)
    assert ((features @ weights + bias > 0) == labels).all(), "memorized"
    assert accuracy(real, fake) < 0.62


def test_a_feature_that_varies_only_in_one_held_out_image_gives_moderate_logits() -> None:
    real, fake = (gaussian(m, 1, seed=i, n=100, d=3).astype(np.float32) for i, m in enumerate((0, 0.5)))
    real[:, 0] = fake[:, 0] = 0.1
    fake[0, 0] = 0.2
    logits = np.concatenate(held_out_logits(real, fake, np.random.default_rng(0)))
    assert np.abs(logits).max() < 10


def test_equal_distributions_have_density_one_and_the_expected_coverage() -> None:
    n, k = 1000, K_DENSITY_COVERAGE
    found = by_neighbours(gaussian(0, 1, seed=0, n=n), gaussian(0, 1, seed=1, n=n))
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    assert expected == pytest.approx(0.969, abs=1e-3)
    assert found["coverage"] == pytest.approx(expected, abs=0.02)
    assert found["density"] == pytest.approx(1, abs=0.08)


def test_a_generator_that_drops_a_mode_loses_its_share_of_recall_and_coverage_and_no_precision() -> None:
    real = mixture(np.arange(1000) % 5, seed=0)
    all_modes = by_neighbours(real, mixture(np.arange(1000) % 5, seed=1))
    four_modes = by_neighbours(real, mixture(np.arange(1000) % 4, seed=1))
    assert four_modes["recall"] == pytest.approx(all_modes["recall"] - 1 / 5, abs=0.04)
    assert four_modes["coverage"] == pytest.approx(all_modes["coverage"] - 1 / 5, abs=0.04)
    assert four_modes["precision"] == pytest.approx(all_modes["precision"], abs=0.03)


def test_noise_lowers_precision_and_density() -> None:
    real = mixture(np.arange(600) % 5, seed=0)
    clean, noisy = (by_neighbours(real, mixture(np.arange(600) % 5, seed=1, deviation=s)) for s in (0.5, 1.5))
    assert noisy["precision"] < 0.5 * clean["precision"]
    assert noisy["density"] < 0.3 * clean["density"]


def test_distant_sets_have_no_overlap() -> None:
    real, far = gaussian(0, 1, seed=0), gaussian(50, 1, seed=1)
    assert set(by_neighbours(real, far).values()) == {0}
    terms = kernel_terms(real, far)
    assert terms.mean() > 3 * terms.std() / np.sqrt(len(terms))


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(700, 12)), rng.normal(0.2, 1, (700, 12))

    def results() -> list[bytes]:
        radii = radii_of_balls(real, [3, 5])
        found = [
            *radii,
            *precision_recall(real, fake, radii[0], ball_radii(fake, 3)),
            *density_coverage(real, fake, radii[1]),
            kernel_terms(real, fake),
            *held_out_logits(real, fake, np.random.default_rng(0)),
        ]
        return [values.tobytes() for values in found]

    by_number = []
    for number in (1, 2, 7):
        monkeypatch.setattr("gan.system.threads.num_processors", lambda number=number: number)
        by_number.append(results())
    assert by_number[0] == by_number[1] == by_number[2]


def test_what_an_image_contributes_is_what_is_lost_without_its_ball() -> None:
    real, fake = gaussian(0, 1, seed=0, n=40, d=3), gaussian(0.7, 1.2, seed=1, n=60, d=3)
    real_radii, fake_radii = ball_radii(real, K_PRECISION_RECALL), ball_radii(fake, K_PRECISION_RECALL)
    dense_radii = ball_radii(real, K_DENSITY_COVERAGE)
    supports, balls = precision_recall(real, fake, real_radii, fake_radii), density_coverage(real, fake, dense_radii)
    for row in range(len(real)):
        rest = np.arange(len(real)) != row
        without = precision_recall(real[rest], fake, real_radii[rest], fake_radii)
        assert supports.precise_by[row] == supports.precise.sum() - without.precise.sum()
        thinner = density_coverage(real[rest], fake, dense_radii[rest])
        assert balls.density_by[row] == pytest.approx(balls.density.sum() - thinner.density.sum())
    for row in range(len(fake)):
        rest = np.arange(len(fake)) != row
        without = precision_recall(real, fake[rest], real_radii, fake_radii[rest])
        assert supports.recalled_by[row] == supports.recalled.sum() - without.recalled.sum()
        assert (
            balls.covered_by[row] == balls.covered.sum() - density_coverage(real, fake[rest], dense_radii).covered.sum()
        )
    assert min(map(np.max, (supports.precise_by, supports.recalled_by, balls.covered_by))) > 0
