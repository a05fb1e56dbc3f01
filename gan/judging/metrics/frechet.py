"""Fréchet distance."""

import numpy as np


def frechet_distance(real_features: np.ndarray, fake_features: np.ndarray) -> float:
    """Return the Fréchet distance between Gaussians fitted to two feature sets.

        d^2 = |mu_r - mu_f|^2 + Tr(S_r + S_f - 2 (S_r S_f)^(1/2))

    Dowson and Landau 1982, eq. 4; Heusel et al. 2017, arXiv:1706.08500. S is the unbiased covariance (ddof=1). The
    last trace is the sum of the square roots of the eigenvalues of S_r^(1/2) S_f S_r^(1/2). That matrix is symmetric
    and has the same eigenvalues as S_r S_f. The estimate is biased upwards for small n: compare only equal n.

    Args:
        real_features: float, shape (n, d), n > 1.
        fake_features: float, shape (m, d), m > 1.

    Returns:
        d^2 >= 0, in squared feature units; 0 for identical sets.

    Raises:
        ValueError: If the shapes do not match, or a value is not finite.
    """
    real, fake = np.asarray(real_features, np.float64), np.asarray(fake_features, np.float64)
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1] or min(len(real), len(fake)) < 2:
        raise ValueError(
            f"frechet_distance got features of shapes {real.shape} and {fake.shape}; "
            "it expects (n, d) and (m, d) with n, m > 1 and the same d."
        )
    if not (np.isfinite(real).all() and np.isfinite(fake).all()):
        raise ValueError("frechet_distance got features that are not finite; check the weights of the generator.")
    mean_difference = real.mean(axis=0) - fake.mean(axis=0)
    real_covariance, fake_covariance = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (real, fake))
    values, vectors = np.linalg.eigh(real_covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T  # S_r^(1/2); rounding may make a zero eigenvalue negative
    cross_trace = np.sqrt(np.linalg.eigvalsh(root @ fake_covariance @ root).clip(0)).sum()
    traces = mean_difference @ mean_difference + np.trace(real_covariance) + np.trace(fake_covariance)
    return max(0.0, float(traces - 2 * cross_trace))
