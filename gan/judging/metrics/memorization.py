"""Memorization and repetition: whether images are nearer to training images, or to each other, than real ones are."""

import numpy as np

COPY_QUANTILE = 0.01

MIN_FOR_MEDIAN, MIN_FOR_QUANTILE = 5, 100
"""Numbers of test images of a class from which their own median and COPY_QUANTILE are used. A quantile of fewer is
hardly more than their minimum."""


def relative_to_test(
    distances: np.ndarray, classes: np.ndarray, test_distances: np.ndarray, test_classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compare distances to the nearest training image with those of test images of the same class.

        relative_j = d(y_j) / median of d(x) over test images x of y_j's class
        near copy:   relative_j <= 1 % quantile of the relative distances of these test images

    This follows the data-copying test of Meehan et al. 2020, arXiv:2004.05675, which also compares with held-out images
    region by region. The regions here are classes: trousers are nearer to each other than bags are, so that without
    classes a generator of trousers only would seem to copy. Test images have a median of 1 and a share of near copies
    of 1 %, by definition; copies have 0 and 100 %. The share is biased for small n: with r test images that a quantile
    is computed of, about 1 % + 1 / (r + 1) of unseen real images count as near copies. Noise in an image can hide a
    copy. Near duplicates are found in the same way, by the distances to the nearest other image of the same set.
    Their share rises with the number of images of a class: 450 trousers in place of about 45 have 8 %.

    A class with fewer than MIN_FOR_QUANTILE test images has the quantile of the relative distances of all test images.
    With fewer than MIN_FOR_MEDIAN, or if its median is 0 (at least half of its test images equal training images, up to
    a shift, a mirror image and brightness), it has the median of all. If that is 0 too, relative distances are not
    defined and are NaN, and near copies are the images with distance 0.

    Args:
        distances: float, shape (m,), distances of generated images to their nearest training images
            (`similar_images.ImageIndex`), or to their nearest other images (`similar_images.nearest_others`).
        classes: int, shape (m,), predicted classes of generated images.
        test_distances: float, shape (n,), the same distances of test images.
        test_classes: int, shape (n,), classes of test images, predicted by the same classifier.

    Returns:
        Relative distances, float64 (m,), whose median is a metric, and near copies, bool (m,), whose mean is a metric.
    """
    num_classes = 1 + max(classes.max(), test_classes.max())
    sizes, overall = np.bincount(test_classes, minlength=num_classes), np.median(test_distances)
    scales = np.full(num_classes, overall)
    for label in np.flatnonzero(sizes >= MIN_FOR_MEDIAN):
        scales[label] = np.median(test_distances[test_classes == label]) or overall
    test_relative = _divide(test_distances, scales[test_classes])
    limits = np.full(num_classes, np.quantile(test_relative, COPY_QUANTILE))
    for label in np.flatnonzero(sizes >= MIN_FOR_QUANTILE):
        limits[label] = np.quantile(test_relative[test_classes == label], COPY_QUANTILE)
    relative = _divide(distances, scales[classes])
    return np.where(scales[classes], relative, np.nan), relative <= limits[classes]


def relative_to_other_images(distances: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compare the distance of each test image with those of the other test images: the floor of `relative_to_test`.

    It has the bias of `relative_to_test` for generated images, except that an image has one test image less to be
    compared with.

    Args:
        distances: float, shape (n,), n >= 2, distances of test images to their nearest training images.
        classes: int, shape (n,), predicted classes of test images.

    Returns:
        As `relative_to_test`, for the test images.
    """
    overall = _quantile_of_others(distances, 0.5)
    sizes, scales = np.bincount(classes), overall.copy()
    for label in np.flatnonzero(sizes > MIN_FOR_MEDIAN):
        of_class = classes == label
        medians = _quantile_of_others(distances[of_class], 0.5)
        scales[of_class] = np.where(medians, medians, overall[of_class])
    relative = _divide(distances, scales)
    limits = _quantile_of_others(relative, COPY_QUANTILE)
    for label in np.flatnonzero(sizes > MIN_FOR_QUANTILE):
        of_class = classes == label
        limits[of_class] = _quantile_of_others(relative[of_class], COPY_QUANTILE)
    return np.where(scales, relative, np.nan), relative <= limits


def _quantile_of_others(values: np.ndarray, quantile: float) -> np.ndarray:
    """Return for each value the quantile of all other values, float (n,), n >= 2; linear as in `numpy.quantile`."""
    order = values.argsort()
    rank = np.empty(len(values), int)
    rank[order] = np.arange(len(values))
    position = quantile * (len(values) - 2)
    index = int(position)
    low, high = (
        values[order[np.minimum(at + (rank <= at), len(values) - 1)]]  # of the sorted values without the value itself
        for at in (index, index + 1)
    )
    return np.asarray(low + (position - index) * (high - low))


def _divide(distances: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Divide distances by scales, or by 1 where a scale is 0."""
    return np.asarray(distances / np.where(scales, scales, 1.0))
