"""Groups of similar training images, found by clustering: conditions for data that is used without labels.

Conditioning on groups helps twice. The generator need not learn how frequent each group is. And a pair of a real and a
generated image from one group is more informative than a pair of a shirt and a boot (Liu et al. 2020, arXiv:2006.10728,
who cluster the discriminator's features again and again; here HOG features of the pixels are clustered once). A trained
generator needs no group as input: it reads the group from the first number of each latent.
"""

import logging
from statistics import NormalDist

import numpy as np

from gan.recipe import Recipe
from gan.system.threads import map_in_threads

log = logging.getLogger(__name__)

SEED, ITERATIONS = 0, 20
NUM_DIRECTIONS, CELL = 4, 4
BATCH_SIZE = 1000
BLOCK_ROWS = 65_536
"""Images that are compared with all centres at once: 260 MB for 1,000 groups."""


def hog_features(images: np.ndarray) -> np.ndarray:
    """Compute histograms of oriented gradients of images, float32 (n, 28, 28, 1).

    They are simpler than those of Dalal and Triggs 2005: a gradient counts for one direction only, and blocks of cells
    are not normalized.

    Returns:
        float32, shape (n, 196): for each cell of 4 x 4 pixels and each of 4 directions, the square root of the sum of
        the gradients' lengths.
    """

    def of_batch(start: int) -> np.ndarray:
        down, right = np.gradient(images[start : start + BATCH_SIZE, :, :, 0], axis=(1, 2))
        angle = np.floor(np.arctan2(down, right) * (NUM_DIRECTIONS / np.pi)) % NUM_DIRECTIONS  # opposite ones are equal
        by_direction = np.hypot(down, right)[..., np.newaxis] * (angle[..., np.newaxis] == np.arange(NUM_DIRECTIONS))
        n, height, width = down.shape
        cells = by_direction.reshape(n, height // CELL, CELL, width // CELL, CELL, NUM_DIRECTIONS).sum(axis=(2, 4))
        return np.asarray(np.sqrt(cells, dtype=np.float32).reshape(n, -1))

    return np.concatenate(list(map_in_threads(of_batch, range(0, len(images), BATCH_SIZE))))


def find_groups(images: np.ndarray, num_groups: int) -> np.ndarray:
    """Cluster images by k-means (Lloyd 1982) on HOG features, starting from randomly drawn images.

    scikit-learn's k-means is not reproducible to the last bit: it sums in the order in which its threads finish. With
    fewer images than groups, each image starts its own group.

    Returns:
        int32, shape (n,): the group of each image, 0..num_groups - 1. Groups with close numbers are similar.
    """
    log.info("Clustering the training images into %s groups", num_groups)
    features = hog_features(images)
    rng = np.random.default_rng(SEED)
    centres = features[rng.choice(len(features), min(num_groups, len(features)), replace=False)]
    for _ in range(ITERATIONS):
        sizes, sums = _sum_members(features, _nearest(features, centres), len(centres))
        centres = np.where(sizes, sums / sizes.clip(1), centres)  # an empty group keeps its centre
    along = np.linalg.svd(centres - centres.mean(axis=0))[2][0]  # the first principal axis of the centres
    along *= np.sign(along[np.abs(along).argmax()])  # its sign is arbitrary and differs between libraries
    return _nearest(features, centres[np.argsort(centres @ along)]).astype(np.int32)


def _nearest(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the nearest centre of each image: argmin |x - c|^2 = argmax x.c - |c|^2 / 2."""
    half_norms = np.square(centres).sum(axis=1) / 2
    return np.concatenate([(block @ centres.T - half_norms).argmax(axis=1) for block in _in_blocks(features)])


def _sum_members(features: np.ndarray, groups: np.ndarray, num_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of images in each group, (num_groups, 1), and the sums of their features, (num_groups, d)."""
    sizes, sums = np.zeros((num_groups, 1), np.float32), np.zeros((num_groups, features.shape[1]), np.float32)
    for block, of_block in zip(_in_blocks(features), _in_blocks(groups), strict=True):
        members = np.eye(num_groups, dtype=np.float32)[:, of_block]
        sizes += members.sum(axis=1, keepdims=True)
        sums += members @ block
    return sizes, sums


def _in_blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + BLOCK_ROWS] for start in range(0, len(rows), BLOCK_ROWS)]


def find_conditions(images: np.ndarray, recipe: Recipe, labels: np.ndarray | None) -> np.ndarray | None:
    """Return the condition of each training image, int (n,): its group or its label; None without conditioning."""
    if recipe.num_groups:
        return find_groups(images, recipe.num_groups)
    return labels if recipe.num_classes else None


def group_bounds(groups: np.ndarray, num_groups: int) -> list[float]:
    """Split the real line so that N(0, 1) falls into each group as often as the training images do.

    `groups` are those of the images, int (n,). Each of the `num_groups` - 1 ascending bounds is the first number of the
    next group's interval.
    """
    return _quantiles(np.cumsum(np.bincount(groups, minlength=num_groups) / len(groups))[:-1])


def group_latents(groups: np.ndarray, num_groups: int) -> np.ndarray:
    """Return the median of N(0, 1) within each group's interval (see `group_bounds`), float32 (num_groups,)."""
    shares = np.bincount(groups, minlength=num_groups) / len(groups)
    return np.array(_quantiles(np.cumsum(shares) - shares / 2), np.float32)


def _quantiles(shares: np.ndarray) -> list[float]:
    return [NormalDist().inv_cdf(share) for share in shares.clip(1e-9, 1 - 1e-9)]
