"""Nearest-neighbour metrics: precision and recall, density and coverage.

Each image of a set has a *ball* around it, whose radius is the distance to the k-th nearest other image of the set.
The union of the balls is an estimate of the support of the set's distribution.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

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


class PrecisionRecall(NamedTuple):
    """Which images lie in balls of the other set, and how many images lie in no ball but that of one image."""

    precise: np.ndarray  # bool (m,): the fake image lies in a ball of a real image
    recalled: np.ndarray  # bool (n,): the real image lies in a ball of a fake image
    precise_by: np.ndarray  # int (n,), number of fake images that lie in the ball of this real image only
    recalled_by: np.ndarray  # int (m,), number of real images that lie in the ball of this fake image only


class DensityCoverage(NamedTuple):
    """How many real balls are around each fake image, which balls hold one, and what each image contributes."""

    density: np.ndarray  # float64 (m,), number of real balls around the fake image, relative to k
    covered: np.ndarray  # bool (n,): the ball of the real image holds a fake image
    density_by: np.ndarray  # float64 (n,), number of fake images in the ball of this real image, relative to k
    covered_by: np.ndarray  # int (m,), number of real balls that hold this fake image only


def precision_recall(
    real: np.ndarray, fake: np.ndarray, real_radii: np.ndarray, fake_radii: np.ndarray
) -> PrecisionRecall:
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
        The mean of `precise` is precision, that of `recalled` is recall.
    """
    around_fake, around_real = np.zeros(len(fake), np.int64), np.zeros(len(real), np.int64)
    ball_of_fake, ball_of_real = np.zeros(len(fake), np.int64), np.zeros(len(real), np.int64)

    def inside_balls(rows: slice, distances: np.ndarray) -> tuple[np.ndarray, ...]:
        in_real, in_fake = distances <= real_radii[rows, np.newaxis], distances <= fake_radii
        return in_real.sum(axis=0), in_real.argmax(axis=0), in_fake.sum(axis=1), in_fake.argmax(axis=1)

    for rows, (num_real, one_real, num_fake, one_fake) in _by_block(real, fake, inside_balls):
        around_fake += num_real
        ball_of_fake = np.where(num_real > 0, rows.start + one_real, ball_of_fake)
        around_real[rows], ball_of_real[rows] = num_fake, one_fake
    return PrecisionRecall(
        precise=around_fake > 0,
        recalled=around_real > 0,
        precise_by=_count_sole(around_fake, ball_of_fake, len(real)),
        recalled_by=_count_sole(around_real, ball_of_real, len(fake)),
    )


def density_coverage(real: np.ndarray, fake: np.ndarray, real_radii: np.ndarray) -> DensityCoverage:
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
        The mean of `density` is density, that of `covered` is coverage.
    """
    balls, held, one_held = (np.zeros(num, np.int64) for num in (len(fake), len(real), len(real)))

    def balls_around(rows: slice, distances: np.ndarray) -> tuple[np.ndarray, ...]:
        inside = distances <= real_radii[rows, np.newaxis]
        return inside.sum(axis=0), inside.sum(axis=1), inside.argmax(axis=1)

    for rows, (around, num, one) in _by_block(real, fake, balls_around):
        balls += around
        held[rows], one_held[rows] = num, one
    return DensityCoverage(
        density=balls / K_DENSITY_COVERAGE,
        covered=held > 0,
        density_by=held / K_DENSITY_COVERAGE,
        covered_by=_count_sole(held, one_held, len(fake)),
    )


def _count_sole(num: np.ndarray, one: np.ndarray, num_owners: int) -> np.ndarray:
    """Return for each owner how many images have it as their only one, int (num_owners,).

    `num` is the number of owners of each image, `one` the index of one of them if there is any; both int (k,).
    """
    return np.bincount(one[num == 1], minlength=num_owners)


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return squared Euclidean distances, float64 (len(a), len(b)), with errors up to (d + 2) eps (|a| + |b|)^2."""
    norms_a, norms_b = (np.einsum("ij,ij->i", features, features) for features in (a, b))
    distances = a @ b.T
    distances *= -2  # in place: new arrays would take longer than the sums
    distances += norms_a[:, np.newaxis]
    distances += norms_b
    return np.asarray(np.maximum(distances, 0, out=distances))


def _by_block(a: np.ndarray, b: np.ndarray, compute: Callable[[slice, np.ndarray], R]) -> Iterator[tuple[slice, R]]:
    """Yield blocks of rows of a, with what `compute` returns for them and their squared distances to all rows of b."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    blocks = [slice(start, start + BLOCK_ROWS) for start in range(0, len(a), BLOCK_ROWS)]
    return zip(blocks, map_in_threads(lambda rows: compute(rows, squared_distances(a[rows], b)), blocks), strict=True)
