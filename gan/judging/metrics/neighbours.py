"""Metrics by nearest neighbours: precision and recall, density and coverage.

A *ball* lies round each image of a set; its radius is the distance to the k-th nearest other image of the set. All
balls together are an estimate of where the set's distribution lives.
"""

from collections.abc import Iterator

import numpy as np

BLOCK_ROWS = 200
K_PRECISION_RECALL, K_DENSITY_COVERAGE = 3, 5


def ball_radii(features: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each image to the k-th nearest other image of the same set, plus its rounding error.

    The slack lets an image on the edge of a ball lie in it, whatever the rounding of `squared_distances`. Without it
    identical sets would not lie in each other's balls where images are doubled, so that radii are 0. Both the radius
    and a distance to it have an error of up to (d + 2) eps (|x| + |y|)^2, where |y|^2 <= 2 |x|^2 + 2 r^2. Together

        slack = 12 (d + 2) eps (|x|^2 + r^2)

    is enough, and for our features less than 1e-12 of |x|^2 + r^2.

    Args:
        features: float, shape (n, d).
        k: 1 <= k < n.

    Returns:
        float64, shape (n,), in squared feature units.

    Raises:
        ValueError: If there are too few images.
    """
    if not 1 <= k < len(features):
        raise ValueError(f"ball_radii got k = {k} and {len(features)} images; it expects 1 <= k < n.")
    features = np.asarray(features, np.float64)
    radii = np.empty(len(features))
    for start in range(0, len(features), BLOCK_ROWS):
        distances = squared_distances(features[start : start + BLOCK_ROWS], features)
        distances[np.arange(len(distances)), np.arange(start, start + len(distances))] = np.inf  # not to itself
        radii[start : start + BLOCK_ROWS] = np.partition(distances, k - 1, axis=1)[:, k - 1]
    slack = 12 * (features.shape[1] + 2) * np.finfo(np.float64).eps
    widened: np.ndarray = radii + slack * (np.einsum("ij,ij->i", features, features) + radii)
    return widened


def precision_recall(
    real: np.ndarray, fake: np.ndarray, real_radii: np.ndarray, fake_radii: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which fakes lie in a ball of a real image, and which real images in a ball of a fake.

        precision = 1/m sum_j 1[exists i: |y_j - x_i| <= r(x_i)],  recall = 1/n sum_i 1[exists j: |x_i - y_j| <= r(y_j)]

    Kynkäänniemi et al. 2019, arXiv:1904.06991, eq. 1 and 2, with k = 3. Both are for sets of equal n, and both move
    with n: compare only equal n. One outlier with its large ball can raise either.

    Args:
        real: float, shape (n, d).
        fake: float, shape (m, d).
        real_radii: `ball_radii` of real.
        fake_radii: `ball_radii` of fake.

    Returns:
        bool (m,), whose mean is precision, and bool (n,), whose mean is recall.
    """
    precise, recalled = np.zeros(len(fake), bool), np.zeros(len(real), bool)
    for rows, distances in _blocks(real, fake):
        precise |= (distances <= real_radii[rows, np.newaxis]).any(axis=0)
        recalled[rows] = (distances <= fake_radii).any(axis=1)
    return precise, recalled


def density_coverage(real: np.ndarray, fake: np.ndarray, real_radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In how many balls of real images each fake lies, and which balls hold a fake.

        density = 1/(k m) sum_j sum_i 1[|y_j - x_i| <= r(x_i)],  coverage = 1/n sum_i 1[exists j: |y_j - x_i| <= r(x_i)]

    Naeem et al. 2020, arXiv:2002.09797, eq. 3 and 4, with k = 5. Balls are those of real images only, so that no
    outlier among the fakes counts. For equal distributions the expectation of density is 1, that of coverage
    1 - (n-1)...(n-k) / ((2n-1)...(2n-k)), which is 0.969 for k = 5 and large n = m. Density can exceed 1.

    Args:
        real: float, shape (n, d).
        fake: float, shape (m, d).
        real_radii: `ball_radii` of real with k = K_DENSITY_COVERAGE.

    Returns:
        float64 (m,), whose mean is density, and bool (n,), whose mean is coverage.
    """
    balls, covered = np.zeros(len(fake)), np.zeros(len(real), bool)
    for rows, distances in _blocks(real, fake):
        inside = distances <= real_radii[rows, np.newaxis]
        balls += inside.sum(axis=0)
        covered[rows] = inside.any(axis=1)
    return balls / K_DENSITY_COVERAGE, covered


def nearest(queries: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest reference of each query.

    Args:
        queries: float32, shape (n, d).
        references: float32, shape (m, d); m may be large.

    Returns:
        Indices, int64 (n,), and distances, float64 (n,), in feature units. A query that equals references has the first
        of them, at distance 0. Among other references whose squared distances differ by less than float32 rounding of
        |x|^2 either may be given; the distance is exact for the one that is.
    """
    queries, references = np.asarray(queries, np.float32), np.asarray(references, np.float32)
    half_norms = np.einsum("ij,ij->i", references, references) / 2
    index = np.empty(len(queries), np.int64)
    for start in range(0, len(queries), BLOCK_ROWS):
        products = queries[start : start + BLOCK_ROWS] @ references.T
        products -= half_norms  # argmin |x - y|^2 = argmax x.y - |y|^2 / 2
        index[start : start + BLOCK_ROWS] = products.argmax(axis=1)
    rows_of: dict[bytes, list[int]] = {}
    for row, query in enumerate(queries):
        rows_of.setdefault(query.tobytes(), []).append(row)
    for place, reference in enumerate(references):
        index[rows_of.pop(reference.tobytes(), [])] = place
    differences = queries.astype(np.float64) - references[index]
    return index, np.sqrt(np.einsum("ij,ij->i", differences, differences))


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances, float64 (len(a), len(b)), rounded to at most (d + 2) eps (|a| + |b|)^2."""
    distances = a @ b.T
    distances *= -2
    distances += np.einsum("ij,ij->i", a, a)[:, np.newaxis]
    distances += np.einsum("ij,ij->i", b, b)
    clipped: np.ndarray = np.maximum(distances, 0, out=distances)
    return clipped


def _blocks(real: np.ndarray, fake: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of the real set, a block at a time, with their squared distances to all fakes."""
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    for start in range(0, len(real), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        yield rows, squared_distances(real[rows], fake)
