"""Kernel distance: an estimate of the distance of two distributions that is not biased by the number of images."""

import numpy as np

from gan.system.threads import map_in_threads

BLOCK_ROWS = 200


def kernel_terms(real_features: np.ndarray, fake_features: np.ndarray) -> np.ndarray:
    """Return each image pair's contribution to the squared maximum mean discrepancy of two feature sets.

        MMD^2 = 1/(n (n-1)) sum_(i != j) h_ij,   h_ij = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i)
        k(x, y) = (x.y / d + 1)^3
        terms_i = 2 h_i - MMD^2,   h_i = 1/(n-1) sum_(j != i) h_ij

    Gretton et al. 2012 (JMLR 13), lemma 6, with the kernel of Binkowski et al. 2018, arXiv:1801.01401. The mean of the
    terms is MMD^2. It is unbiased for every n, so it may be negative for equal distributions. To first order, its
    standard error is that of the mean of these terms, std(terms) / sqrt(n) (Hoeffding 1948, U-statistics). For equal
    distributions the first-order term vanishes, and this standard error is too large by a factor of sqrt(2).

    Args:
        real_features: float, shape (n, d), n > 1.
        fake_features: float, shape (n, d).

    Returns:
        float64, shape (n,), in units of the kernel.

    Raises:
        ValueError: If the shapes differ; the estimator pairs the i-th images of both sets.
    """
    real, fake = np.asarray(real_features, np.float64), np.asarray(fake_features, np.float64)
    if real.shape != fake.shape or real.ndim != 2 or len(real) < 2:
        raise ValueError(
            f"kernel_terms got features of shapes {real.shape} and {fake.shape}; it expects (n, d), n > 1, for both."
        )
    n = len(real)

    def sums_of(start: int) -> np.ndarray:
        stop = min(start + BLOCK_ROWS, n)
        cross = _kernel(real[start:stop], fake)
        np.fill_diagonal(cross[:, start:], 0)  # the sum of h is over i != j
        sums = -cross.sum(axis=0)  # k(x_j, y_i)
        sums[start:stop] -= cross.sum(axis=1)  # k(x_i, y_j)
        for features in (real, fake):
            within = _kernel(features[start:stop], features[start:])
            np.fill_diagonal(within, 0)
            sums[start:stop] += within.sum(axis=1)
            sums[stop:] += within[:, stop - start :].sum(axis=0)  # the mirrored block, since k is symmetric
        return np.asarray(sums)

    sums = np.sum(list(map_in_threads(sums_of, range(0, n, BLOCK_ROWS))), axis=0)
    means = sums / (n - 1)
    return np.asarray(2 * means - means.mean())


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    root = a @ b.T
    root /= a.shape[1]
    root += 1
    values = root * root
    values *= root
    return np.asarray(values)
