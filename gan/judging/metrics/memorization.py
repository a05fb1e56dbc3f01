"""Memorization: whether generated images are nearer to training images than held-out real images are."""

import numpy as np

COPY_QUANTILE = 0.01


def relative_to_test(
    distances: np.ndarray, classes: np.ndarray, test_distances: np.ndarray, test_classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compare distances to the nearest training image with those of test images of the same class.

        relative_j = d(y_j) / median of d(x) over test images x of y_j's class
        near copy:   d(y_j) <= 1 % quantile of these d(x)

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
    medians, limits = np.empty(len(distances)), np.empty(len(distances))
    for label in np.unique(classes):
        of_class = classes == label
        reference = test_distances[test_classes == label]
        if not len(reference):
            reference = test_distances
        medians[of_class], limits[of_class] = np.quantile(reference, [0.5, COPY_QUANTILE])
    return _compare(distances, medians, limits, np.median(test_distances))


def relative_to_other_images(distances: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compare the distance of each test image with those of the others of its class: the floor of `relative_to_test`.

    It has the bias of `relative_to_test` for generated images, except that an image has one test image less to be
    compared with. An image that is the only one of its class is compared with all others.

    Args:
        distances: float, shape (n,), n >= 2, distances of test images to their nearest training images.
        classes: int, shape (n,), predicted classes of test images.

    Returns:
        As `relative_to_test`, for the test images.
    """
    medians, limits = (_quantile_of_others(distances, quantile) for quantile in (0.5, COPY_QUANTILE))
    for label in np.unique(classes):
        of_class = classes == label
        if of_class.sum() > 1:
            medians[of_class] = _quantile_of_others(distances[of_class], 0.5)
            limits[of_class] = _quantile_of_others(distances[of_class], COPY_QUANTILE)
    return _compare(distances, medians, limits, np.median(distances))


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


def _compare(
    distances: np.ndarray, medians: np.ndarray, limits: np.ndarray, overall_median: float | np.floating
) -> tuple[np.ndarray, np.ndarray]:
    """Return distances relative to medians, else to the overall median, else NaN; and whether they are near copies."""
    medians = np.where(medians, medians, overall_median)
    relative = np.divide(distances, medians, out=np.full(len(distances), np.nan), where=medians != 0)
    return relative, distances <= limits
