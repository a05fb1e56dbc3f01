"""Groups of alike training images, found without labels, that stand in for classes where there are none.

A generator that is told the group of an image need not find out by itself how often each kind comes, and a pair of a
real and a generated image of one group says more than one of a shirt and a boot (Liu et al. 2020, arXiv:2006.10728,
who find groups in the discriminator's features; here they are found once, in the pixels). Whoever uses the generator
sees nothing of it: the group is read off the first number of a latent.
"""

import itertools
from statistics import NormalDist

import numpy as np

NUM_COMPONENTS = 32
"""Principal components that groups are found in: they hold nine tenths of the variance of Fashion-MNIST."""


def order_by_groups(images: np.ndarray, num_groups: int) -> np.ndarray:
    """Sort images so that alike ones come together: group g is the g-th of `num_groups` equal parts.

    Halves are halved again, each time at the median of the images' own first principal component (principal direction
    divisive partitioning, Boley 1998, with medians, so that groups are of equal size).

    Args:
        images: float32, shape (n, 28, 28, 1), n >= `num_groups`.
        num_groups: A power of two.

    Returns:
        int64, shape (n,): a permutation of rows.
    """
    flat = images.reshape(len(images), -1)
    centred = flat - flat.mean(axis=0)
    scores = centred @ _principal_directions(centred, min(NUM_COMPONENTS, centred.shape[1]))
    order = np.arange(len(images))
    for num_parts in (2**depth for depth in range(num_groups.bit_length() - 1)):
        bounds = -(np.arange(num_parts + 1) * -len(images) // num_parts)  # rounded up, as index * groups // n has them
        for start, stop in itertools.pairwise(bounds):
            part = scores[order[start:stop]]
            along = (part - part.mean(axis=0)) @ _principal_directions(part - part.mean(axis=0), 1)
            order[start:stop] = order[start:stop][np.argsort(along[:, 0], kind="stable")]
    return order


def _principal_directions(centred: np.ndarray, num: int) -> np.ndarray:
    """The first principal directions, float32 (d, num), each with its largest entry positive."""
    directions = np.linalg.eigh(centred.T @ centred)[1][:, : -num - 1 : -1]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[np.newaxis], axis=0)
    signed: np.ndarray = directions * np.sign(largest)
    return signed


def group_bounds(num_groups: int) -> list[float]:
    """Where one group ends and the next begins in a latent's first number z ~ N(0, 1): `num_groups` - 1 quantiles."""
    return [NormalDist().inv_cdf(group / num_groups) for group in range(1, num_groups)]


def group_middles(num_groups: int) -> np.ndarray:
    """A first number of a latent for each group, float32 (num_groups,)."""
    return np.array([NormalDist().inv_cdf((group + 0.5) / num_groups) for group in range(num_groups)], np.float32)
