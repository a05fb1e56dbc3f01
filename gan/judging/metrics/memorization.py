"""Memorization: whether generated images are nearer to training images than held-out real images are."""

import numpy as np

COPY_QUANTILE = 0.01


def relative_to_test(
    distances: np.ndarray, classes: np.ndarray, test_distances: np.ndarray, test_classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compare distances to the nearest training image with those of test images of the same class.

        relative_j = d(y_j) / median of d(x) over test images x of y_j's class
        near copy:   d(y_j) < 1 % quantile of these d(x), or d(y_j) = 0

    This follows the data-copying test of Meehan et al. 2020, arXiv:2004.05675, which also compares with held-out images
    region by region. The regions here are classes: trousers are nearer to each other than bags are, so that without
    classes a generator of trousers only would seem to copy. Test images have a median of 1 and a share of near copies
    of 1 %, by definition; copies have 0 and 100 %. The share is biased for small n: with r test images of a class,
    about 1 % + 1 / (r + 1) of unseen real images count as near copies. Noise in an image can hide a copy.

    If the median of a class is 0 (at least half of its test images equal training images), the median of all classes
    is used. If that is 0 too, relative distances are not defined and are NaN.

    Args:
        distances: float, shape (m,), distances of generated images to their nearest training images
            (`similar_images.ImageIndex`).
        classes: int, shape (m,), predicted classes of generated images.
        test_distances: float, shape (n,), the same distances of test images.
        test_classes: int, shape (n,), classes of test images, predicted by the same classifier.

    Returns:
        Relative distances, float64 (m,), whose median is a metric, and near copies, bool (m,), whose mean is a metric.
    """
    relative, near_copy = np.empty(len(distances)), np.empty(len(distances), bool)
    for label in np.unique(classes):
        of_class = classes == label
        reference = test_distances[test_classes == label]
        if not len(reference):
            reference = test_distances
        median = float(np.median(reference)) or float(np.median(test_distances))
        relative[of_class] = distances[of_class] / median if median else np.nan
        equal = distances[of_class] == 0
        near_copy[of_class] = equal | (distances[of_class] < np.quantile(reference, COPY_QUANTILE))
    return relative, near_copy
