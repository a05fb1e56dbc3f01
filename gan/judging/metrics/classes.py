"""The entropy of class shares."""

import numpy as np


def class_entropy(classes: np.ndarray, num_classes: int) -> float:
    """Return the entropy of predicted classes in bits: log2(num_classes) if all are equally frequent, 0 for one class.

        H = -sum_c p_c log2 p_c,   where p_c is the share of class c

    Shannon 1948. The plug-in estimator is biased downwards by about (num_classes - 1) / (2 n ln 2) bits.

    Args:
        classes: int, shape (n,), predicted labels.
        num_classes: Number of classes in the data set.
    """
    return entropy_bits(np.bincount(classes, minlength=num_classes) / len(classes))


def entropy_bits(shares: np.ndarray) -> float:
    """Return the entropy of a distribution, float (k,) with sum 1, in bits."""
    present = shares[shares > 0]
    return float(-(present * np.log2(present)).sum()) + 0.0  # adding zero turns -0.0 into 0.0
