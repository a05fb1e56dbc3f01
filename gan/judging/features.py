"""What images are compared by: the features of a small classifier, frozen and known by its SHA-256.

A number on features means nothing without the name of the network that they are of. Ours is not Inception-v3, so no
distance on its features is an FID.
"""

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from gan.data.pixels import IMAGE_SIZE, normalize_images
from gan.errors import StoreError
from gan.storage.files import sha256_of

if TYPE_CHECKING:
    from gan.models.backend import keras

GREY_LEVELS = "grey levels"
"""No features at all, but pixels as they are stored, 0 to 255."""

HALF_RESOLUTION = "pixels196"
"""The mean of each 2 x 2 pixels, in [0, 1]: the picture itself, with single noisy pixels weighing less."""

BATCH_SIZE = 250
DIGEST_LENGTH = 8

SHIPPED_SHA256 = MappingProxyType({"fashion-mnist": "1a7f4d67d1d65fa67d4caa3d5c0da9fde3dd35ac965caf53913fa155293a6154"})
"""Weights that are part of the code, by data set: `features.<data set>.keras` beside this file."""


@dataclass(frozen=True)
class Features:
    """What the classifier makes of a set of images."""

    values: np.ndarray  # float32 (n, d), of mean 0 over training images
    probabilities: np.ndarray  # float64 (n, num_classes), rows sum to 1

    @property
    def classes(self) -> np.ndarray:
        """Predicted labels, int64 (n,)."""
        labels: np.ndarray = self.probabilities.argmax(axis=1)
        return labels


@dataclass(frozen=True)
class Extractor:
    """A classifier, whose inner layers give the features (`gan.judging.classifier.build_classifier`)."""

    network: "keras.Model"  # images to [features, logits]
    name: str  # with the start of its digest, as in "fashion-mnist-cnn96@1a2b3c4d"
    sha256: str

    @classmethod
    def load(cls, path: Path, dataset: str, sha256: str) -> "Extractor":
        """Load weights, after a look at their SHA-256; nothing in the file is executed.

        Args:
            path: A `.keras` file that `gan.classifier` wrote.
            dataset: The data set that it was fitted on, for its name.
            sha256: What its bytes must be.

        Raises:
            StoreError: If the file is missing or another one.
        """
        from gan.models.networks import load_model

        found = sha256_of(path) if path.is_file() else "no such file"
        if found != sha256:
            raise StoreError(
                f"The feature extractor {path} is not the one that was meant: SHA-256 {found}, expected {sha256}.\n"
                "Get the file again (git checkout), or fit another one: python -m gan.classifier --help"
            )
        network = load_model(path)
        return cls(network, f"{dataset}-cnn{network.outputs[0].shape[-1]}@{sha256[:DIGEST_LENGTH]}", sha256)

    def features(self, pixels: np.ndarray) -> Features:
        """Features and class probabilities of images.

        Args:
            pixels: uint8, shape (n, 28, 28).

        Raises:
            StoreError: If features or logits are not finite: the network's weights are broken.
        """
        values, logits = [], []
        for start in range(0, len(pixels), BATCH_SIZE):
            batch = self.network(normalize_images(pixels[start : start + BATCH_SIZE]), training=False)
            values.append(np.asarray(batch[0]))
            logits.append(np.asarray(batch[1]))
        found = np.concatenate(values), np.concatenate(logits)
        if not all(np.isfinite(part).all() for part in found):
            raise StoreError(
                f"The feature extractor {self.name} gives features that are not finite, so nothing can be measured.\n"
                "Fit it again (--refresh) if it is of your own data; else get the file again (git checkout)."
            )
        return Features(found[0], softmax(found[1]))


def shipped_weights(dataset: str) -> Path:
    """Where the weights for a data set of `SHIPPED_SHA256` lie."""
    return Path(__file__).with_name(f"features.{dataset}.keras")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, rows that sum to 1; the largest logit is taken off first, so that nothing overflows.

    Args:
        logits: float, shape (n, num_classes).
    """
    logits = logits.astype(np.float64)  # the difference of two large float32 may overflow
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def half_resolution(pixels: np.ndarray) -> np.ndarray:
    """Features "pixels196".

    Args:
        pixels: uint8, shape (n, 28, 28).

    Returns:
        float32, shape (n, 196), values in [0, 1].
    """
    half = IMAGE_SIZE // 2
    blocks = pixels.reshape(len(pixels), half, 2, half, 2).mean(axis=(2, 4), dtype=np.float32)
    features: np.ndarray = blocks.reshape(len(pixels), half * half) / np.float32(255)
    return features
