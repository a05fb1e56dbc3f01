"""Metrics of pixels, which need no network."""

import numpy as np

LEVELS = 256


def total_variation(pixels: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference of neighbouring pixels of each image (anisotropic; Rudin et al. 1992).

        TV = (mean |x[i+1, j] - x[i, j]| + mean |x[i, j+1] - x[i, j]|) / 2

    Noise raises it, blur lowers it; the best value is that of real images. The mean is the metric; it is unbiased.
    Pixels are uint8 (n, 28, 28), values float64 (n,) in grey levels, 0 to 255.
    """
    levels = pixels.astype(np.int16)
    down, across = (np.abs(np.diff(levels, axis=axis)).mean(axis=(1, 2)) for axis in (1, 2))
    return np.asarray((down + across) / 2)


def intensity_histograms(pixels: np.ndarray) -> np.ndarray:
    """Return the share of each grey level in each image, float32 (n, 256), of pixels, uint8 (n, 28, 28)."""
    counts = np.array([np.bincount(image.ravel(), minlength=LEVELS) for image in pixels])
    return np.asarray((counts / pixels[0].size).astype(np.float32))


def intensity_distance(real_histograms: np.ndarray, fake_histograms: np.ndarray) -> float:
    """Return the 1-Wasserstein (earth mover's) distance of the grey levels of two sets of images, 0 to 255 levels.

        W1 = sum over levels of |CDF_real - CDF_fake|

    Rubner et al. 2000. It is the mean change of grey levels that turns the mean histogram of one set into that of the
    other. The estimate is biased upwards for small n.

    Args:
        real_histograms: `intensity_histograms` of real images, shape (n, 256).
        fake_histograms: `intensity_histograms` of generated images, shape (m, 256).
    """
    real_cdf, fake_cdf = (
        np.cumsum(histograms.mean(axis=0, dtype=np.float64)) for histograms in (real_histograms, fake_histograms)
    )
    return float(np.abs(real_cdf - fake_cdf).sum())
