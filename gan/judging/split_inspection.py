"""A check of both splits of a data set: test images that are training images after a small change."""

import numpy as np

from gan.data.inspection import MAX_SHARED, TOO_MANY_SHARED, hash_images
from gan.errors import DataError
from gan.judging.metrics.similar_images import ROUNDING_ERROR, ImageIndex


def check_splits(train_pixels: np.ndarray, test_pixels: np.ndarray) -> tuple[str, ...]:
    """Return a warning if many test images are training images that were mirrored, moved by a pixel or brightened.

    Images that are equal pixel by pixel do not count here: `gan.data.inspection` warns of them.

    Args:
        train_pixels: uint8, shape (n, 28, 28).
        test_pixels: uint8, shape (m, 28, 28).

    Raises:
        DataError: If half of the test images are training images, changed or not: no distance could be judged by them.
    """
    num = len(test_pixels)
    _, distances = ImageIndex(train_pixels).nearest(test_pixels)
    is_same = distances < ROUNDING_ERROR
    is_equal = np.isin(hash_images(test_pixels), hash_images(train_pixels))
    num_same, num_changed = int(is_same.sum()), int((is_same & ~is_equal).sum())
    found = "test images are also training images, if mirrored, moved by a pixel or made brighter"
    advice = "Split a collection first, and augment its training images afterwards."
    if num_same >= TOO_MANY_SHARED * num:
        raise DataError(
            f"{num_same:,} of {num:,} {found}; expected none.\nThe metrics could not distinguish a generator that "
            f"memorizes from one that has learned. {advice}"
        )
    if num_changed <= MAX_SHARED * num:
        return ()
    return (f"{num_changed:,} of {num:,} {found}. The check for near copies looks better than it is. {advice}",)
