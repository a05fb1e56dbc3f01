"""Conversion of pixels (uint8, 0..255) to images (float32, [-1, 1]) and back."""

import numpy as np

IMAGE_SIZE = 28
"""Height and width of an image, in pixels."""


def is_pixels(array: np.ndarray) -> bool:
    """Return whether an array holds images as pixels: uint8, shape (n, 28, 28)."""
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[1:] == (IMAGE_SIZE, IMAGE_SIZE)


def normalize_images(pixels: np.ndarray) -> np.ndarray:
    """Scale pixels to the range of the generator's tanh output: x / 127.5 - 1.

    Args:
        pixels: uint8, shape (n, 28, 28), values 0..255.

    Returns:
        float32, shape (n, 28, 28, 1), values in [-1, 1]; 0 -> -1, 255 -> +1.

    Raises:
        ValueError: If the dtype or the shape is different.
    """
    if not is_pixels(pixels):
        raise ValueError(
            f"normalize_images got {pixels.dtype} of shape {pixels.shape}; it expects uint8 of shape (n, 28, 28). "
            "Pass the array from decode_images() unchanged."
        )
    return (pixels.astype(np.float32) / np.float32(127.5) - np.float32(1))[..., np.newaxis]


def denormalize_images(images: np.ndarray) -> np.ndarray:
    """Invert `normalize_images`: 127.5 (x + 1), rounded to the nearest pixel value.

    Args:
        images: float, shape (n, 28, 28, 1), values in [-1, 1]; values outside are clipped.

    Returns:
        uint8, shape (n, 28, 28), values 0..255.

    Raises:
        ValueError: If the dtype or the shape is different, or a value is not finite.
    """
    if images.dtype.kind != "f" or images.ndim != 4 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 1):
        raise ValueError(
            f"denormalize_images got {images.dtype} of shape {images.shape}; "
            "it expects floats of shape (n, 28, 28, 1). Pass images from the generator or from normalize_images()."
        )
    if not np.isfinite(images).all():
        raise ValueError("denormalize_images got values that are not finite; the generator is broken.")
    scaled = np.asarray(images[..., 0], dtype=np.float32) + 1
    scaled *= np.float32(127.5)  # in place: for a whole split, new arrays would take longer than the arithmetic
    np.rint(scaled, out=scaled)
    np.clip(scaled, 0, 255, out=scaled)
    return scaled.astype(np.uint8)
