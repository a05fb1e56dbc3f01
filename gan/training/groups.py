"""Groups of similar training images, found by clustering: conditions for data that is used without labels.

Conditioning on groups helps twice. The generator need not learn how frequent each group is. And a pair of a real and a
generated image from one group is more informative than a pair of a shirt and a boot (Liu et al. 2020, arXiv:2006.10728,
who cluster the discriminator's features again and again; here HOG features of the pixels are clustered once). A trained
generator needs no group as input: it reads the group from the first number of each latent.
"""

import logging
from statistics import NormalDist

import numpy as np

from gan.recipes import Recipe

log = logging.getLogger(__name__)

SEED, ITERATIONS = 0, 20
NUM_DIRECTIONS, CELL = 4, 4
BATCH_SIZE = 1000


def hog_features(images: np.ndarray) -> np.ndarray:
    """Compute histograms of oriented gradients (Dalal and Triggs 2005) of images, float32 (n, 28, 28, 1).

    Returns:
        float32, shape (n, 196): for each cell of 4 x 4 pixels and each of 4 directions, the square root of the sum of
        the gradients' lengths.
    """
    batches = (images[start : start + BATCH_SIZE, :, :, 0] for start in range(0, len(images), BATCH_SIZE))
    return np.concatenate([_hog_features(batch) for batch in batches])


def _hog_features(batch: np.ndarray) -> np.ndarray:
    n, height, width = batch.shape
    down, right = np.gradient(batch, axis=(1, 2))
    direction = np.floor(np.arctan2(down, right) * (NUM_DIRECTIONS / np.pi)) % NUM_DIRECTIONS  # opposite ones are equal
    by_direction = np.hypot(down, right)[..., np.newaxis] * (direction[..., np.newaxis] == np.arange(NUM_DIRECTIONS))
    cells = by_direction.reshape(n, height // CELL, CELL, width // CELL, CELL, NUM_DIRECTIONS).sum(axis=(2, 4))
    features: np.ndarray = np.sqrt(cells, dtype=np.float32).reshape(n, -1)
    return features


def find_groups(images: np.ndarray, num_groups: int) -> np.ndarray:
    """Cluster images by k-means (Lloyd 1982) on HOG features, starting from randomly drawn images.

    scikit-learn's k-means is not used: it sums in the order in which its threads finish, so its bytes are not
    reproducible.

    Args:
        images: float32, shape (n, 28, 28, 1).
        num_groups: Number of groups; with fewer images, each image starts its own group.

    Returns:
        int32, shape (n,): the group of each image, 0..num_groups - 1. Groups with close numbers are similar.
    """
    log.info("Clustering the training images into %s groups", num_groups)
    features = hog_features(images)
    rng = np.random.default_rng(SEED)
    centres = features[rng.choice(len(features), min(num_groups, len(features)), replace=False)]
    for _ in range(ITERATIONS):
        members = np.eye(len(centres), dtype=np.float32)[:, _nearest(features, centres)]
        sizes = members.sum(axis=1, keepdims=True)
        centres = np.where(sizes, members @ features / sizes.clip(1), centres)  # an empty group keeps its centre
    along = np.linalg.svd(centres - centres.mean(axis=0))[2][0]  # the first principal axis of the centres
    along *= np.sign(along[np.abs(along).argmax()])  # its sign is arbitrary and differs between libraries
    return _nearest(features, centres[np.argsort(centres @ along)]).astype(np.int32)


def _nearest(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the nearest centre of each image: argmin |x - c|^2 = argmax x.c - |c|^2 / 2."""
    index: np.ndarray = (features @ centres.T - np.square(centres).sum(axis=1) / 2).argmax(axis=1)
    return index


def find_conditions(images: np.ndarray, recipe: Recipe, labels: np.ndarray | None) -> np.ndarray | None:
    """Return the condition of each training image, int (n,): its group or its label; None without conditioning."""
    if recipe.num_groups:
        return find_groups(images, recipe.num_groups)
    return labels if recipe.num_classes else None


def group_bounds(groups: np.ndarray, num_groups: int) -> list[float]:
    """Split the real line so that N(0, 1) falls into each group as often as the training images do.

    Args:
        groups: Group of each image, int, shape (n,).
        num_groups: Number of groups.

    Returns:
        `num_groups` - 1 ascending bounds; each is the first number of the next group's interval.
    """
    return _quantiles(np.cumsum(_shares(groups, num_groups))[:-1])


def group_latents(groups: np.ndarray, num_groups: int) -> np.ndarray:
    """Return the median of N(0, 1) within each group's interval (see `group_bounds`), float32 (num_groups,)."""
    shares = _shares(groups, num_groups)
    return np.array(_quantiles(np.cumsum(shares) - shares / 2), np.float32)


def _shares(groups: np.ndarray, num_groups: int) -> np.ndarray:
    shares: np.ndarray = np.bincount(groups, minlength=num_groups) / len(groups)
    return shares


def _quantiles(shares: np.ndarray) -> list[float]:
    return [NormalDist().inv_cdf(share) for share in shares.clip(1e-9, 1 - 1e-9)]
