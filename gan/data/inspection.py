"""Summary and checks of a data set before training: unusable data is refused, suspicious data causes warnings."""

from collections.abc import Sequence
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from gan.data.catalog import FILE_NAMES
from gan.data.label_inspection import find_label_warnings, refuse_labels
from gan.errors import DataError

MIN_IMAGES, MIN_DISTINCT = 100, 50
"""Minimum number of images in a split, since a run generates and measures at least 100; minimum of distinct ones."""

MIN_CONTRAST, LOW_CONTRAST = 32, 128
"""Grey levels between the darkest and the brightest pixel of a typical image (the median over images).

Below the first, data is refused: distances would measure noise and rounding. Below the second there is a warning: the
generator's tanh output would use only a small part of its range. Fashion-MNIST and MNIST have a contrast of 255.
"""

MAX_BLANK, MAX_REPEATED, MAX_SHARED, TOO_MANY_SHARED = 0.01, 0.05, 0.01, 0.5
"""Shares above which there is a warning: of images with a single grey level, of images that repeat another one of their
split, of test images that are also training images. Above the last share of such test images the data is refused."""

MAX_BRIGHTNESS_GAP, MIN_BRIGHTNESS_Z = 0.25, 4.0
"""Gap between the mean brightness of two splits, in standard deviations of image means, and in standard errors.

There is a warning above both. Two random halves of one data set differ by four standard errors once in 16,000 times.
"""

INVERTED = 0.5
"""Ratio of histogram distances, after and before inverting one split, below which that split looks inverted."""

MIN_LEVEL_SHARE = 0.001
"""Share of all pixels above which a grey level is not a stray value."""

BATCH_SIZE, MAX_SAMPLED = 1000, 10_000
"""Images that are counted at a time, and images from which quantiles are estimated."""

_FLOATS_HINT = "If the pixels were floating-point numbers, scale them to 0..255 and round them before writing bytes."


class LabelledPixels(NamedTuple):
    """One split."""

    pixels: np.ndarray  # uint8 (n, 28, 28)
    labels: np.ndarray  # uint8 (n,)


class _GreyLevels(NamedTuple):
    low: int  # low, high and contrast are medians over images
    high: int
    contrast: int
    highest: int  # of all pixels
    num_blank: int


def refuse_unusable(train: LabelledPixels, test: LabelledPixels, class_names: Sequence[str]) -> None:
    """Raise DataError if a generator cannot be trained or evaluated on the data; `class_names` are empty if unknown."""
    refuse_labels(train.labels, test.labels, class_names)
    hashes = hash_images(train.pixels), hash_images(test.pixels)
    names = FILE_NAMES["train", "images"], FILE_NAMES["test", "images"]
    for name, pixels, hashed in zip(names, (train.pixels, test.pixels), hashes, strict=True):
        num, num_distinct = len(pixels), len(np.unique(hashed))
        if num_distinct == 1:
            raise DataError(
                f"{name} holds the same image {num:,} times.\nWere the images lost when the file was written (grey "
                f"values between 0 and 1 become 0 as bytes)? {_FLOATS_HINT}"
            )
        _refuse_grey_levels(pixels, name)
        if num_distinct < MIN_DISTINCT:
            raise DataError(
                f"{name} holds {num:,} images, but only {num_distinct:,} different ones; expected {MIN_DISTINCT} or "
                "more.\nCopies of an image add no information. Add other images to this split."
            )
    shared = int(np.isin(hashes[1], hashes[0]).sum())
    if shared >= TOO_MANY_SHARED * len(test.pixels):
        raise DataError(
            f"{shared:,} of {len(test.pixels):,} test images are also training images, pixel by pixel; expected none.\n"
            "The metrics could not distinguish a generator that memorizes from one that has learned. Use test images "
            "that are not in the training split."
        )


def find_warnings(train: LabelledPixels, test: LabelledPixels, class_names: Sequence[str]) -> tuple[str, ...]:
    """Describe each suspicious property of usable data in a line with figures and advice; none for Fashion-MNIST."""
    num, train_hashes, test_hashes = len(test.pixels), hash_images(train.pixels), hash_images(test.pixels)
    found = _find_image_warnings(train.pixels, train_hashes, FILE_NAMES["train", "images"], "training")
    found += _find_image_warnings(test.pixels, test_hashes, FILE_NAMES["test", "images"], "test")
    shared = int(np.isin(test_hashes, train_hashes).sum())
    if shared > MAX_SHARED * num:
        found.append(
            f"{shared:,} of {num:,} test images are also training images, pixel by pixel. All distances and the check "
            "for near copies look better than they are. Remove these images and their labels from one of the splits."
        )
    found += find_label_warnings(train.labels, test.labels, class_names)
    found += _find_brightness_gap(train.pixels, test.pixels)
    return tuple(found)


def summarize(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """Count images by label, uint8 (n,), and compute mean and population standard deviation over all pixels.

    `images` are float32 (n, 28, 28, 1) in [-1, 1]. Return plain JSON values.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    return {
        "num_images": len(images),
        "images_per_class": dict(zip(class_names, counts.tolist(), strict=True)),
        "mean": round(float(images.mean(dtype=np.float64)), 6),
        "standard_deviation": round(float(images.std(dtype=np.float64)), 6),
    }


def hash_images(pixels: np.ndarray) -> np.ndarray:
    """Hash the bytes of each image with Python's 64-bit hash, whose seed belongs to this process; return int64 (n,).

    Among a million different images, two have the same hash with a probability of 3e-8.
    """
    return np.fromiter((hash(image.tobytes()) for image in pixels), np.int64, len(pixels))


def _measure_grey_levels(pixels: np.ndarray) -> _GreyLevels:
    flat = pixels.reshape(len(pixels), -1)
    low, high = flat.min(axis=1), flat.max(axis=1)
    return _GreyLevels(
        low=int(np.median(low)),
        high=int(np.median(high)),
        contrast=int(np.median(high - low)),
        highest=int(high.max()),
        num_blank=int((low == high).sum()),
    )


def _count_grey_levels(pixels: np.ndarray) -> np.ndarray:
    """Return how often each grey level occurs, int64 (256,)."""
    counts = np.zeros(256, np.int64)
    for start in range(0, len(pixels), BATCH_SIZE):
        counts += np.bincount(pixels[start : start + BATCH_SIZE].ravel(), minlength=256)
    return counts


def _refuse_grey_levels(pixels: np.ndarray, name: str) -> None:
    num, levels = len(pixels), _measure_grey_levels(pixels)
    if levels.num_blank >= num / 2:
        raise DataError(
            f"{levels.num_blank:,} of {num:,} images in {name} are blank: all pixels of each have one grey level.\n"
            f"Check the images before they are written. {_FLOATS_HINT}"
        )
    if levels.highest == 1:
        raise DataError(f"{name} holds only the grey levels 0 and 1; expected 0 to 255.\nMultiply all pixels by 255.")
    if levels.contrast < MIN_CONTRAST:
        raise DataError(
            f"{_describe_contrast(levels, name)}; expected 0 to 255.\n{_advise_stretching(pixels)} {_FLOATS_HINT}"
        )
    counts = _count_grey_levels(pixels)
    if counts[2:255].sum() == 0 and min(counts[1], counts[255]) > MIN_LEVEL_SHARE * counts.sum():
        raise DataError(
            f"{name} holds only the grey levels 0, 1 and 255.\n"
            f"Numbers of -1 to 1 become these when they are written as bytes. {_FLOATS_HINT}"
        )


def _describe_contrast(levels: _GreyLevels, name: str) -> str:
    return (
        f"A typical image in {name} has a contrast of {levels.contrast} grey levels (its pixels are {levels.low} to "
        f"{levels.high}; medians over all images)"
    )


def _advise_stretching(pixels: np.ndarray) -> str:
    sampled = pixels[:: max(1, len(pixels) // MAX_SAMPLED)]
    low, high = (int(level) for level in np.percentile(sampled, (1, 99)))
    if low == high:
        low, high = int(sampled.min()), int(sampled.max())
    return (
        f"Map the grey levels {low} to {high} (nearly all pixels are in this range) to 0 to 255, in floating point, "
        "and clip the values outside. Do the same in both splits."
    )


def _find_image_warnings(pixels: np.ndarray, hashes: np.ndarray, name: str, split: str) -> list[str]:
    num, levels, found = len(pixels), _measure_grey_levels(pixels), []
    if levels.contrast < LOW_CONTRAST:
        found.append(f"{_describe_contrast(levels, name)}; 255 is usual. {_advise_stretching(pixels)}")
    if levels.num_blank > MAX_BLANK * num:
        found.append(
            f"{levels.num_blank:,} of {num:,} {split} images are blank: all pixels of each have one grey level. The "
            "generator learns to make blank images too. Remove them and their labels if they are unintended."
        )
    repeated = num - len(np.unique(hashes))
    if repeated > MAX_REPEATED * num:
        found.append(
            f"{repeated:,} of {num:,} {split} images repeat another image of that split, pixel by pixel. Repeated "
            "images have a higher weight. Remove the copies and their labels if they are unintended."
        )
    return found


def _find_brightness_gap(train_pixels: np.ndarray, test_pixels: np.ndarray) -> list[str]:
    """Warn if the brightness of the splits differs by more than chance can explain."""
    both = train_pixels, test_pixels
    means = [pixels.reshape(len(pixels), -1).mean(axis=1, dtype=np.float32).astype(float) for pixels in both]
    (train, test), (train_variance, test_variance) = [part.mean() for part in means], [part.var() for part in means]
    gap, deviation = abs(train - test), sqrt((train_variance + test_variance) / 2)
    error = sqrt(train_variance / len(train_pixels) + test_variance / len(test_pixels))
    if gap <= MAX_BRIGHTNESS_GAP * deviation or gap <= MIN_BRIGHTNESS_Z * error:
        return []
    train_shares, test_shares = (_count_grey_levels(pixels) / pixels.size for pixels in both)
    distance, inverted = (np.abs(train_shares - shares).sum() for shares in (test_shares, test_shares[::-1]))
    advice = "Make both splits in the same way, from images that are drawn at random from one collection."
    if inverted < INVERTED * distance:
        advice = "One split looks inverted: replace its pixels by 255 - pixel."
    return [
        f"The splits differ in brightness: the mean grey level is {train:.1f} in training images and {test:.1f} in "
        f"test images, where image means have a standard deviation of {deviation:.1f}. {advice}"
    ]
