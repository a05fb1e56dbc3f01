"""A check of both splits of a data set: test images that are training images after a small change."""

import numpy as np

from gan.data.inspection import MAX_SHARED, hash_images
from gan.judging.metrics.similar_images import ImageIndex


def check_splits(train_pixels: np.ndarray, test_pixels: np.ndarray) -> tuple[str, ...]:
    """Return a warning if more than MAX_SHARED of the test images are mirrored or moved training images.

    Images that are equal pixel by pixel do not count here: `gan.data.inspection` reports them. This is never an error,
    because simple shapes may be equal up to a shift by their nature.

    Args:
        train_pixels: uint8, shape (n, 28, 28).
        test_pixels: uint8, shape (m, 28, 28).
    """
    num = len(test_pixels)
    _, distances = ImageIndex(train_pixels).nearest(test_pixels)
    is_equal = np.isin(hash_images(test_pixels), hash_images(train_pixels))
    num_changed = int(((distances == 0) & ~is_equal).sum())
    if num_changed <= MAX_SHARED * num:
        return ()
    effect = "The check for near copies looks better than it is."
    if np.median(distances) == 0:  # the median, which the gate needs, is not defined then
        effect = "So near copies cannot be recognized, and no run will pass the gate."
    return (
        f"{num_changed:,} of {num:,} test images are training images that were mirrored or moved by a pixel. {effect} "
        "If images were augmented, do it after the split, and to training images only.",
    )
