"""A look at a data set before anything is trained: what cannot be judged is refused, what looks wrong is a warning."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from gan.data.catalog import FILE_NAMES, Split
from gan.data.label_inspection import find_label_warnings, refuse_labels
from gan.errors import DataError

MIN_IMAGES, MIN_DISTINCT = 100, 50
"""Images in a split: as many as a run draws and measures at least; and different ones among them."""

MIN_CONTRAST, LOW_CONTRAST = 32, 128
"""Grey levels between the darkest and the brightest pixel of a typical image (the median over images).

Below an eighth of the range every distance is about noise and rounding. Below half of it the generator's tanh has to
learn a small part of its output, which is rarely meant: Fashion-MNIST and MNIST have 255.
"""

MAX_BLANK = 0.01
"""Share of images of a single grey level: a few are lost in conversion, more are a fault."""

MAX_SHARED, TOO_MANY_SHARED = 0.01, 0.5
"""Share of test images that are also training images. From the second on the floors of the judge mean nothing."""

MAX_REPEATED = 0.05
"""Share of a split that repeats an image of the same split. Repeated images count several times in training."""

MAX_BRIGHTNESS_GAP, MIN_BRIGHTNESS_Z = 0.25, 4.0
"""Gap between the mean brightness of two splits, in standard deviations of image means, and in standard errors.

Two random halves of one data set differ by more than four standard errors once in 16,000 times.
"""

INVERTED = 0.5
"""How much nearer the histogram of an inverted split is: the splits of one data set differ by chance alone."""

MIN_OF_A_LEVEL = 0.001
"""Share of the pixels that a grey level must have to be no stray."""

BATCH_SIZE, MAX_SAMPLED = 1000, 10_000
"""Images that are counted at a time, and images from which quantiles are taken."""

_FLOATS_HINT = "If the pixels were floating-point numbers, scale them to 0..255 and round before they become bytes."


class LabelledPixels(NamedTuple):
    """One split."""

    pixels: np.ndarray  # uint8 (n, 28, 28)
    labels: np.ndarray  # uint8 (n,)


def refuse_unusable(train: LabelledPixels, test: LabelledPixels, class_names: Sequence[str]) -> None:
    """Refuse data that a generator cannot be trained on, or judged by.

    Args:
        train: The training split.
        test: The test split.
        class_names: Names by label; empty if they are not known.

    Raises:
        DataError: Says which rule the data breaks, with figures, and what to do.
    """
    refuse_labels(train.labels, test.labels, class_names)
    digests = digests_of(train.pixels), digests_of(test.pixels)
    for (split, part), digest in zip(_by_split(train, test), digests, strict=True):
        name, num, distinct = FILE_NAMES[split, "images"], len(part.pixels), len(np.unique(digest))
        if distinct == 1:
            raise DataError(
                f"{name} holds the same image {num:,} times.\n"
                f"Were the images lost when it was written (grey values of 0 to 1 become 0 as bytes)? {_FLOATS_HINT}"
            )
        _refuse_grey_levels(part.pixels, name)
        if distinct < MIN_DISTINCT:
            raise DataError(
                f"{name} holds {num:,} images, but only {distinct:,} different ones; expected {MIN_DISTINCT} or more.\n"
                "Copies of an image add nothing. Add other images to this split."
            )
    shared = _num_shared(*digests)
    if shared >= TOO_MANY_SHARED * len(test.pixels):
        raise DataError(
            f"{shared:,} of {len(test.pixels):,} test images are also training images, pixel by pixel; expected none.\n"
            "A generator that memorizes could not be told from one that has learned. Use images for the test split "
            "that are not in the training split."
        )


def find_warnings(train: LabelledPixels, test: LabelledPixels, class_names: Sequence[str]) -> tuple[str, ...]:
    """Find what looks wrong in data that can be judged.

    Args:
        train: The training split.
        test: The test split.
        class_names: Names by label.

    Returns:
        One text of one line for each finding: the figures, and what to do. Fashion-MNIST has none.
    """
    found: list[str] = []
    digests = digests_of(train.pixels), digests_of(test.pixels)
    for (split, part), digest in zip(_by_split(train, test), digests, strict=True):
        found += _grey_level_warnings(part.pixels, split)
        found += _repeated_warning(digest, split)
    found += _shared_warning(*digests)
    found += find_label_warnings(train.labels, test.labels, class_names)
    found += _brightness_warning(train.pixels, test.pixels)
    return tuple(found)


def digests_of(pixels: np.ndarray) -> np.ndarray:
    """Give each image a number by its bytes: equal images have equal numbers, within one process.

    The numbers are Python's hashes, of 64 bits and seeded by the process. Among a million different images two have the
    same number with a probability of 3e-8.

    Args:
        pixels: uint8, shape (n, 28, 28).

    Returns:
        int64, shape (n,).
    """
    return np.fromiter((hash(image.tobytes()) for image in pixels), np.int64, len(pixels))


def _by_split(train: LabelledPixels, test: LabelledPixels) -> tuple[tuple[Split, LabelledPixels], ...]:
    return ("train", train), ("test", test)


def _words(split: Split) -> str:
    return "training" if split == "train" else "test"


class _GreyLevels(NamedTuple):
    """Of a split; low, high and contrast are medians over images."""

    low: int
    high: int
    contrast: int
    highest: int  # of all pixels
    num_blank: int


def _grey_levels(pixels: np.ndarray) -> _GreyLevels:
    flat = pixels.reshape(len(pixels), -1)
    low, high = flat.min(axis=1), flat.max(axis=1)
    return _GreyLevels(
        low=int(np.median(low)),
        high=int(np.median(high)),
        contrast=int(np.median(high - low)),
        highest=int(high.max()),
        num_blank=int((low == high).sum()),
    )


def _refuse_grey_levels(pixels: np.ndarray, name: str) -> None:
    num, levels = len(pixels), _grey_levels(pixels)
    if levels.num_blank >= num / 2:
        raise DataError(
            f"{levels.num_blank:,} of {num:,} images in {name} are blank: all pixels of each have one grey level.\n"
            f"Look at the images before they are written. {_FLOATS_HINT}"
        )
    if levels.highest == 1:
        raise DataError(f"{name} holds only the grey levels 0 and 1; expected 0 to 255.\nMultiply all pixels by 255.")
    if levels.contrast < MIN_CONTRAST:
        raise DataError(f"{_typical(levels, name)}; expected 0 to 255.\n{_stretch(pixels)} {_FLOATS_HINT}")
    if _is_wrapped(pixels):
        raise DataError(
            f"{name} holds only the grey levels 0, 1 and 255.\n"
            f"Numbers of -1 to 1 become these when they are written as bytes. {_FLOATS_HINT}"
        )


def _typical(levels: _GreyLevels, name: str) -> str:
    return (
        f"A typical image in {name} has a contrast of {levels.contrast} grey levels (its pixels are {levels.low} to "
        f"{levels.high}; medians over all images)"
    )


def _stretch(pixels: np.ndarray) -> str:
    """How to bring the pixels to 0..255."""
    sampled = pixels[:: max(1, len(pixels) // MAX_SAMPLED)]
    low, high = (int(level) for level in np.percentile(sampled, (1, 99)))
    if low == high:
        low, high = int(sampled.min()), int(sampled.max())
    return (
        f"Map the grey levels {low} to {high} (nearly all pixels lie there) to 0 to 255, in floating point, and clip "
        "what lies outside. Do the same in both splits."
    )


def _is_wrapped(pixels: np.ndarray) -> bool:
    """Whether the grey levels are 0, 1 and 255 and no others, each of them often."""
    counts = _histogram(pixels)
    return int(counts[2:255].sum()) == 0 and min(counts[1], counts[255]) > MIN_OF_A_LEVEL * counts.sum()


def _histogram(pixels: np.ndarray) -> np.ndarray:
    """How often each grey level occurs, int64 (256,)."""
    counts = np.zeros(256, np.int64)
    for start in range(0, len(pixels), BATCH_SIZE):
        counts += np.bincount(pixels[start : start + BATCH_SIZE].ravel(), minlength=256)
    return counts


def _grey_level_warnings(pixels: np.ndarray, split: Split) -> list[str]:
    num, levels, found = len(pixels), _grey_levels(pixels), []
    if levels.contrast < LOW_CONTRAST:
        found.append(f"{_typical(levels, FILE_NAMES[split, 'images'])}; 255 is usual. {_stretch(pixels)}")
    if levels.num_blank > MAX_BLANK * num:
        found.append(
            f"{levels.num_blank:,} of {num:,} {_words(split)} images are blank: all pixels of each have one grey "
            "level. The generator learns to make blank images too. Remove them and their labels if they are not meant."
        )
    return found


def _repeated_warning(digests: np.ndarray, split: Split) -> list[str]:
    num = len(digests)
    repeated = num - len(np.unique(digests))
    if repeated <= MAX_REPEATED * num:
        return []
    return [
        f"{repeated:,} of {num:,} {_words(split)} images repeat another image of that split, pixel by pixel. "
        "Repeated images count several times. Remove the copies and their labels if they are not meant."
    ]


def _num_shared(train_digests: np.ndarray, test_digests: np.ndarray) -> int:
    """Test images that are also training images."""
    return int(np.isin(test_digests, train_digests).sum())


def _shared_warning(train_digests: np.ndarray, test_digests: np.ndarray) -> list[str]:
    num, shared = len(test_digests), _num_shared(train_digests, test_digests)
    if shared <= MAX_SHARED * num:
        return []
    return [
        f"{shared:,} of {num:,} test images are also training images, pixel by pixel. Near copies and all distances "
        "look better than they are. Remove these images and their labels from one of the splits."
    ]


def _brightness_warning(train_pixels: np.ndarray, test_pixels: np.ndarray) -> list[str]:
    """Whether the splits differ in brightness by more than images of one data set do."""
    means = [
        pixels.reshape(len(pixels), -1).mean(axis=1, dtype=np.float32).astype(float)
        for pixels in (train_pixels, test_pixels)
    ]
    (train, test), (train_variance, test_variance) = [part.mean() for part in means], [part.var() for part in means]
    gap, deviation = abs(train - test), sqrt((train_variance + test_variance) / 2)
    error = sqrt(train_variance / len(train_pixels) + test_variance / len(test_pixels))
    if gap <= MAX_BRIGHTNESS_GAP * deviation or gap <= MIN_BRIGHTNESS_Z * error:
        return []
    inverted = _looks_inverted(train_pixels, test_pixels)
    advice = (
        "One split looks inverted: replace its pixels by 255 - pixel."
        if inverted
        else "Both splits must be made in the same way, of images drawn at random from one collection."
    )
    return [
        f"The splits differ in brightness: the mean grey level is {train:.1f} in training images and {test:.1f} in "
        f"test images, where image means have a standard deviation of {deviation:.1f}. {advice}"
    ]


def _looks_inverted(train_pixels: np.ndarray, test_pixels: np.ndarray) -> bool:
    """Whether the grey levels of one split are far more like those of the other when they are turned round."""
    train, test = (_histogram(pixels) / pixels.size for pixels in (train_pixels, test_pixels))
    return bool(np.abs(train - test[::-1]).sum() < INVERTED * np.abs(train - test).sum())
