"""A split at a glance."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def summarize(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """Count, images a class, mean and deviation of one split.

    Args:
        images: float32, shape (n, 28, 28, 1), values in [-1, 1].
        labels: uint8, shape (n,), indices into `class_names`.
        class_names: Names by label.

    Returns:
        Plain JSON values; mean and (population) standard deviation over all values, in image units.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    return {
        "num_images": len(images),
        "images_per_class": dict(zip(class_names, counts.tolist(), strict=True)),
        "mean": round(float(images.mean(dtype=np.float64)), 6),
        "standard_deviation": round(float(images.std(dtype=np.float64)), 6),
    }
