"""What a classifier sees in generated images: which classes, and how sure it is."""

import numpy as np


def class_entropy(classes: np.ndarray, num_classes: int) -> float:
    """Entropy of the predicted classes: log2(num_classes) bits if all come equally often, 0 if only one does.

        H = -sum_c p_c log2 p_c,   p_c the share of class c

    Shannon 1948. The plug-in estimator: biased downwards by about (num_classes - 1) / (2 n ln 2) bits.

    Args:
        classes: int, shape (n,), predicted labels.
        num_classes: Classes there are.

    Returns:
        Bits.
    """
    shares = np.bincount(classes, minlength=num_classes) / len(classes)
    present = shares[shares > 0]
    return float(-(present * np.log2(present)).sum()) + 0.0


def confidence(probabilities: np.ndarray) -> np.ndarray:
    """Probability of the predicted class of each image; the mean is the metric.

    Below the value of real images: garments that are no garment; above it: too typical ones.

    Args:
        probabilities: float, shape (n, num_classes), rows sum to 1.

    Returns:
        float64 (n,), 1 / num_classes to 1.
    """
    highest: np.ndarray = probabilities.max(axis=1).astype(np.float64)
    return highest
