"""Statistics of pixels: no network, nothing learned."""

import numpy as np

LEVELS = 256


def total_variation(pixels: np.ndarray) -> np.ndarray:
    """Mean absolute difference of neighbouring pixels of each image, down and across (anisotropic; Rudin et al. 1992).

        TV = (mean |x[i+1, j] - x[i, j]| + mean |x[i, j+1] - x[i, j]|) / 2

    Salt-and-pepper noise raises it, blur lowers it: good images have the value of real ones. Unbiased in n.

    Args:
        pixels: uint8, shape (n, 28, 28).

    Returns:
        float64 (n,), grey levels, 0 to 255; the mean is the metric.
    """
    levels = pixels.astype(np.int16)
    down = np.abs(np.diff(levels, axis=1)).mean(axis=(1, 2))
    across = np.abs(np.diff(levels, axis=2)).mean(axis=(1, 2))
    variation: np.ndarray = (down + across) / 2
    return variation


def intensity_histograms(pixels: np.ndarray) -> np.ndarray:
    """Share of each grey level in each image.

    Args:
        pixels: uint8, shape (n, 28, 28).

    Returns:
        float32, shape (n, 256); each row sums to 1.
    """
    size = pixels[0].size
    offsets = np.arange(len(pixels), dtype=np.int64) * LEVELS
    counts = np.bincount(
        (pixels.reshape(len(pixels), -1) + offsets[:, np.newaxis]).ravel(), minlength=len(pixels) * LEVELS
    )
    histograms: np.ndarray = (counts.reshape(len(pixels), LEVELS) / size).astype(np.float32)
    return histograms


def intensity_distance(real_histogram: np.ndarray, fake_histogram: np.ndarray) -> float:
    """Earth mover's (1-Wasserstein) distance of two histograms of grey levels.

        W1 = sum over levels of |CDF_real - CDF_fake|

    Rubner et al. 2000. How many grey levels the average pixel would have to change. Biased upwards for small n.

    Args:
        real_histogram: float, shape (256,), sums to 1.
        fake_histogram: The same of the fakes.

    Returns:
        Grey levels, 0 to 255.
    """
    return float(
        np.abs(np.cumsum(real_histogram, dtype=np.float64) - np.cumsum(fake_histogram, dtype=np.float64)).sum()
    )
