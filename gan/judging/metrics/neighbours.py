"""Nearest-neighbour metrics: precision and recall, density and coverage.

Each image of a set has a *ball* around it, whose radius is the distance to the k-th nearest other image of the set.
The union of the balls is an estimate of the support of the set's distribution.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from gan.system.threads import map_in_threads

R = TypeVar("R")

BLOCK_ROWS = 200
K_PRECISION_RECALL, K_DENSITY_COVERAGE = 3, 5


def ball_radii(features: np.ndarray, k: int) -> np.ndarray:
    """Return the squared distance of each image to the k-th nearest other image of the set, plus a rounding tolerance.

    The tolerance makes sure that an image on the edge of a ball counts as inside. Without it, sets with duplicate
    images, whose radii are 0, would not lie in their own balls. The radius and the distance compared with it each have
    a rounding error of up to (d + 2) eps (|x| + |y|)^2, where |y|^2 <= 2 |x|^2 + 2 r^2. Therefore

        tolerance = 12 (d + 2) eps (|x|^2 + r^2)

    is sufficient. For the features of this project it is less than 1e-12 of |x|^2 + r^2.

    Args:
        features: float, shape (n, d).
        k: Rank of the neighbour, 1 <= k < n.

    Returns:
        float64, shape (n,), in squared feature units.

    Raises:
        ValueError: If there are too few images.
    """
    return radii_of_balls(features, [k])[0]


def radii_of_balls(features: np.ndarray, ks: Sequence[int]) -> list[np.ndarray]:
    """Return `ball_radii` for several k, at the cost of one."""
    for k in ks:
        if not 1 <= k < len(features):
            raise ValueError(f"ball_radii got k = {k} and {len(features)} images; it expects 1 <= k < n.")
    features = np.asarray(features, np.float64)
    radii = np.empty((len(ks), len(features)))
    places = np.array(ks) - 1

    def to_neighbours(rows: slice, distances: np.ndarray) -> np.ndarray:
        distances[np.arange(len(distances)), np.arange(rows.start, rows.start + len(distances))] = np.inf  # itself
        return np.asarray(np.partition(distances, places, axis=1)[:, places].T)

    for rows, found in _by_block(features, features, to_neighbours):
        radii[:, rows] = found
    tolerance = 12 * (features.shape[1] + 2) * np.finfo(np.float64).eps
    return list(radii + tolerance * (np.einsum("ij,ij->i", features, features) + radii))


def precision_recall(
    real: np.ndarray, fake: np.ndarray, real_radii: np.ndarray, fake_radii: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which fake images lie in a ball of a real image, and which real images lie in a ball of a fake image.

        precision = 1/m sum_j 1[exists i: |y_j - x_i| <= r(x_i)],  recall = 1/n sum_i 1[exists j: |x_i - y_j| <= r(y_j)]

    Kynkäänniemi et al. 2019, arXiv:1904.06991, eq. 1 and 2, with k = 3. Both depend on the number of images: compare
    only values of equal n = m. A single outlier with a large ball can raise either.

    Args:
        real: float, shape (n, d).
        fake: float, shape (m, d).
        real_radii: `ball_radii` of real.
        fake_radii: `ball_radii` of fake.

    Returns:
        bool (m,), whose mean is precision, and bool (n,), whose mean is recall.
    """
    precise, recalled = np.zeros(len(fake), bool), np.zeros(len(real), bool)

    def inside_balls(rows: slice, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        in_real, in_fake = distances <= real_radii[rows, np.newaxis], distances <= fake_radii
        return np.asarray(in_real.any(axis=0)), np.asarray(in_fake.any(axis=1))

    for rows, (in_real, in_fake) in _by_block(real, fake, inside_balls):
        precise |= in_real
        recalled[rows] = in_fake
    return precise, recalled


def density_coverage(real: np.ndarray, fake: np.ndarray, real_radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of real balls around each fake image, relative to k, and which real balls hold a fake image.

        density = 1/(k m) sum_j sum_i 1[|y_j - x_i| <= r(x_i)],  coverage = 1/n sum_i 1[exists j: |y_j - x_i| <= r(x_i)]

    Naeem et al. 2020, arXiv:2002.09797, eq. 3 and 4, with k = 5. Only real images have balls, so that outliers among
    the fake images have no effect. For equal distributions the expectation of density, which can exceed 1, is 1; that
    of coverage is 1 - (n-1)...(n-k) / ((2n-1)...(2n-k)), which is 0.969 for k = 5 and large n = m.

    Args:
        real: float, shape (n, d).
        fake: float, shape (m, d).
        real_radii: `ball_radii` of real with k = K_DENSITY_COVERAGE.

    Returns:
        float64 (m,), whose mean is density, and bool (n,), whose mean is coverage.
    """
    balls, covered = np.zeros(len(fake)), np.zeros(len(real), bool)

    def balls_around(rows: slice, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = distances <= real_radii[rows, np.newaxis]
        return inside.sum(axis=0), np.asarray(inside.any(axis=1))

    for rows, (around, holds) in _by_block(real, fake, balls_around):
        balls += around
        covered[rows] = holds
    return balls / K_DENSITY_COVERAGE, covered


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return squared Euclidean distances, float64 (len(a), len(b)), with errors up to (d + 2) eps (|a| + |b|)^2."""
    norms_a, norms_b = (np.einsum("ij,ij->i", features, features) for features in (a, b))
    return np.asarray(np.maximum(-2 * (a @ b.T) + norms_a[:, np.newaxis] + norms_b, 0))


def _by_block(a: np.ndarray, b: np.ndarray, compute: Callable[[slice, np.ndarray], R]) -> Iterator[tuple[slice, R]]:
    """Yield blocks of rows of a, with what `compute` returns for them and their squared distances to all rows of b."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    blocks = [slice(start, start + BLOCK_ROWS) for start in range(0, len(a), BLOCK_ROWS)]
    return zip(blocks, map_in_threads(lambda rows: compute(rows, squared_distances(a[rows], b)), blocks), strict=True)
