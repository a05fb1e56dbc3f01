"""Files of generated images: compressed `.npz` whose bytes depend only on the images and labels."""

import io
from pathlib import Path

import numpy as np

from gan.data.pixels import IMAGE_SIZE, is_pixels
from gan.errors import StoreError
from gan.storage.files import check_unpacked_size

MAX_IMAGES = 1_000_000
MAX_SAMPLES_BYTES = MAX_IMAGES * (IMAGE_SIZE**2 + 1) + 1024  # images, labels and headers


def save_samples(pixels: np.ndarray, path: Path, labels: np.ndarray | None = None) -> None:
    """Write `samples_bytes` to a file."""
    path.write_bytes(samples_bytes(pixels, labels))


def samples_bytes(pixels: np.ndarray, labels: np.ndarray | None = None) -> bytes:
    """Return images as a compressed `.npz`.

    Args:
        pixels: uint8, shape (n, 28, 28); stored under the key `images`.
        labels: int, shape (n,), values 0..255: the requested classes, stored as uint8 under the key `labels`. None
            writes no such key.
    """
    requested = {} if labels is None else {"labels": labels.astype(np.uint8)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, images=pixels, **requested)
    return buffer.getvalue()


def load_samples(path: Path) -> np.ndarray:
    """Load images from an untrusted `.npz`, without executing anything in it.

    Returns:
        uint8, shape (n, 28, 28), values 0..255.

    Raises:
        StoreError: If the file holds no images, or more than a run can have.
    """
    try:
        check_unpacked_size(path, MAX_SAMPLES_BYTES)
        with np.load(path, allow_pickle=False) as arrays:
            pixels: np.ndarray = arrays["images"]
    except StoreError:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds for damaged files
        raise StoreError(f"{path} holds no images: {error}.\nGive the samples.npz of a published run.") from error
    if not is_pixels(pixels):
        raise StoreError(f"{path} holds {pixels.dtype} of shape {pixels.shape}; expected uint8 of (n, 28, 28).")
    return pixels
