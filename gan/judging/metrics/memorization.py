"""Memorization: are generated images nearer to training images than real images that were not trained on are?"""

import numpy as np

COPY_QUANTILE = 0.01


def relative_to_test(
    distances: np.ndarray, classes: np.ndarray, test_distances: np.ndarray, test_classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the nearest training image, relative to those of test images of the same class.

        relative_j = d(y_j) / median of d(x) over test images x of y_j's class
        near copy:   d(y_j) < 1 % quantile of the same, or d(y_j) = 0

    After the data-copying test of Meehan et al. 2020, arXiv:2004.05675, which also compares with held-out images
    region by region. By class, because trousers lie nearer to each other than bags do: a generator of trousers only
    would else pass for one that copies. For test images themselves the median is 1 and the share 1 %, by definition;
    a generator that copies has 0 and 100 %. Biased for small n: with r test images of a class, about 1 % + 1 / (r + 1)
    of unseen real images are called near copies. Noise in a generated image hides a copy.

    Where the median of a class is 0 (at least half of its test images equal training images) that of all classes takes
    its place. Where that is 0 as well, relative distances are not defined: NaN.

    Args:
        distances: float, shape (m,), of generated images; 0 for an image that equals a training image.
        classes: int, shape (m,), predicted.
        test_distances: float, shape (n,).
        test_classes: int, shape (n,), predicted by the same classifier.

    Returns:
        float64 (m,), whose median is the metric (NaN if any is), and bool (m,), whose mean is the share of near copies.
    """
    relative, near_copy = np.empty(len(distances)), np.empty(len(distances), bool)
    for label in np.unique(classes):
        of_class = classes == label
        reference = test_distances[test_classes == label]
        if not len(reference):
            reference = test_distances
        usual = float(np.median(reference)) or float(np.median(test_distances))
        relative[of_class] = distances[of_class] / usual if usual else np.nan
        equal = distances[of_class] == 0
        near_copy[of_class] = equal | (distances[of_class] < np.quantile(reference, COPY_QUANTILE))
    return relative, near_copy
