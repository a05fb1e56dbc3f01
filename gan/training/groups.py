"""Groups of training images that look alike, found without labels, in the place of classes.

A generator that is told a group need not find out by itself how often each kind of image comes, and a pair of a real
and a generated image of one group says more than one of a shirt and a boot (Liu et al. 2020, arXiv:2006.10728, who find
groups in the discriminator's features; here they are found once, by the outlines in the pixels). Whoever uses such a
generator just draws latents: the first number of each says which group.
"""

import logging
from statistics import NormalDist

import numpy as np

from gan.recipes import Recipe

log = logging.getLogger(__name__)

SEED, ITERATIONS = 0, 20
NUM_DIRECTIONS, CELL = 4, 4
BATCH_SIZE = 1000


def outlines(images: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients (Dalal and Triggs 2005): how much outline of which direction is where.

    Args:
        images: float32, shape (n, 28, 28, 1).

    Returns:
        float32, shape (n, 196): of each 4 x 4 pixels the root of the sum of gradient lengths in each of 4 directions.
    """
    batches = (images[start : start + BATCH_SIZE, :, :, 0] for start in range(0, len(images), BATCH_SIZE))
    return np.concatenate([_outlines(batch) for batch in batches])


def _outlines(batch: np.ndarray) -> np.ndarray:
    n, height, width = batch.shape
    down, right = np.gradient(batch, axis=(1, 2))
    direction = np.floor(np.arctan2(down, right) * (NUM_DIRECTIONS / np.pi)) % NUM_DIRECTIONS  # of half a turn
    by_direction = np.hypot(down, right)[..., np.newaxis] * (direction[..., np.newaxis] == np.arange(NUM_DIRECTIONS))
    cells = by_direction.reshape(n, height // CELL, CELL, width // CELL, CELL, NUM_DIRECTIONS).sum(axis=(2, 4))
    features: np.ndarray = np.sqrt(cells, dtype=np.float32).reshape(n, -1)
    return features


def find_groups(images: np.ndarray, num_groups: int) -> np.ndarray:
    """k-means (Lloyd 1982) on outlines, from centres that are images drawn at random.

    Not scikit-learn's, which adds up in the order in which its threads end, so that one seed could give other bytes.

    Args:
        images: float32, shape (n, 28, 28, 1).
        num_groups: Groups to find; of fewer images than that there are as many groups as images.

    Returns:
        int32, shape (n,): the group of each image, below `num_groups`. Groups of near numbers look more alike.
    """
    log.info("Finding %s groups of images that look alike", num_groups)
    features = outlines(images)
    rng = np.random.default_rng(SEED)
    centres = features[rng.choice(len(features), min(num_groups, len(features)), replace=False)]
    for _ in range(ITERATIONS):
        members = np.eye(len(centres), dtype=np.float32)[:, _nearest(features, centres)]
        sizes = members.sum(axis=1, keepdims=True)
        centres = np.where(sizes, members @ features / sizes.clip(1), centres)  # an empty group's stays where it is
    along = np.linalg.svd(centres - centres.mean(axis=0))[2][0]  # the direction in which the centres differ most
    along *= np.sign(along[np.abs(along).argmax()])  # either sign would do, and libraries differ
    return _nearest(features, centres[np.argsort(centres @ along)]).astype(np.int32)


def _nearest(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The nearest centre of each image: argmin |x - c|^2 = argmax x.c - |c|^2 / 2."""
    index: np.ndarray = (features @ centres.T - np.square(centres).sum(axis=1) / 2).argmax(axis=1)
    return index


def find_kinds(images: np.ndarray, recipe: Recipe, labels: np.ndarray | None) -> np.ndarray | None:
    """What a recipe tells its networks of each training image.

    Args:
        images: float32, shape (n, 28, 28, 1).
        recipe: With classes, with groups, or with neither.
        labels: int, shape (n,); needed by recipes with classes alone.

    Returns:
        int, shape (n,): labels, or groups; None for a recipe with neither.
    """
    if recipe.num_groups:
        return find_groups(images, recipe.num_groups)
    return labels if recipe.num_classes else None


def group_bounds(groups: np.ndarray, num_groups: int) -> list[float]:
    """Numbers between which a draw of N(0, 1) means a group, so that each comes as often as among images.

    Args:
        groups: int, shape (n,), of images.
        num_groups: Groups there are.

    Returns:
        `num_groups` - 1 numbers that do not fall: group g lies from the g-th, included, to the next.
    """
    return _quantiles(np.cumsum(_shares(groups, num_groups))[:-1])


def group_numbers(groups: np.ndarray, num_groups: int) -> np.ndarray:
    """A number that means a group, from its middle: float32 (num_groups,). Arguments as for `group_bounds`."""
    shares = _shares(groups, num_groups)
    return np.array(_quantiles(np.cumsum(shares) - shares / 2), np.float32)


def _shares(groups: np.ndarray, num_groups: int) -> np.ndarray:
    shares: np.ndarray = np.bincount(groups, minlength=num_groups) / len(groups)
    return shares


def _quantiles(shares: np.ndarray) -> list[float]:
    return [NormalDist().inv_cdf(share) for share in shares.clip(1e-9, 1 - 1e-9)]
