"""What images are compared by. A metric on features says whose features they are; the name here is that name."""

import numpy as np

PIXELS = "pixels784"
"""The pixels themselves, scaled to [0, 1]: no network, nothing learned, the same for everybody."""

GREY_LEVELS = "grey levels"
"""No features at all, but pixels as they are stored, 0 to 255."""


def pixel_features(pixels: np.ndarray) -> np.ndarray:
    """Features "pixels784": the image as a vector.

    Args:
        pixels: uint8, shape (n, 28, 28).

    Returns:
        float64, shape (n, 784), values in [0, 1].
    """
    return pixels.reshape(len(pixels), -1) / 255.0
