"""The feature extractor: a small classifier, frozen and identified by its SHA-256.

A distance of features depends on the network, so each number is given with the name of its features. The network is
not Inception-v3, so no distance of its features is an FID.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

import numpy as np

from gan.data.pixels import IMAGE_SIZE, normalize_images
from gan.errors import StoreError
from gan.storage.files import sha256_of

if TYPE_CHECKING:
    from gan.models.backend import keras, tf

GREY_LEVELS = "grey levels"
"""Name for metrics of the pixels themselves, 0 to 255, without features."""

ALIGNED_PIXELS = "aligned pixels"
"""Name for metrics of the pixels themselves, after aligning images (`gan.judging.metrics.similar_images`)."""

BATCH_SIZE = 250

SHIPPED_SHA256 = MappingProxyType({"fashion-mnist": "1a7f4d67d1d65fa67d4caa3d5c0da9fde3dd35ac965caf53913fa155293a6154"})
"""SHA-256 by data set of the weights that are part of the code: `features.<data set>.keras` beside this file."""


@dataclass(frozen=True)
class Features:
    """Features and class probabilities of a set of images."""

    values: np.ndarray  # float32 (n, d), with mean 0 over training images
    probabilities: np.ndarray  # float64 (n, num_classes), rows sum to 1

    @property
    def classes(self) -> np.ndarray:
        """Predicted labels, int64 (n,)."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def confidence(self) -> np.ndarray:
        """Probability of the predicted class, float64 (n,)."""
        return np.asarray(self.probabilities.max(axis=1))


@dataclass(frozen=True)
class Extractor:
    """A classifier whose inner layers compute the features (`gan.judging.classifier.build_classifier`)."""

    network: "keras.Model"  # images to [features, logits]
    name: str  # with the first digits of its SHA-256, as in "fashion-mnist-cnn112@1a7f4d67"
    sha256: str

    @classmethod
    def load(cls, path: Path, dataset: str, sha256: str) -> Self:
        """Load a classifier that was fitted on a data set, after checking its SHA-256; execute no code in the file.

        Raises:
            StoreError: If the file is missing or has another SHA-256.
        """
        from gan.models.networks import load_model

        found = sha256_of(path) if path.is_file() else "no such file"
        if found != sha256:
            raise StoreError(
                f"The feature extractor {path} is not the expected file: SHA-256 {found}, expected {sha256}.\n"
                "Restore the file (git checkout), or fit another extractor: python -m gan.classifier --help"
            )
        network = load_model(path)
        return cls(network, f"{dataset}-cnn{network.outputs[0].shape[-1]}@{sha256[:8]}", sha256)

    @classmethod
    def shipped(cls, dataset: str) -> Self:
        """Load the classifier that is part of the code for a data set in `SHIPPED_SHA256`."""
        return cls.load(shipped_weights(dataset), dataset, SHIPPED_SHA256[dataset])

    @cached_property
    def _compiled(self) -> "Callable[[np.ndarray], list[tf.Tensor]]":
        """The network as one TensorFlow graph, which takes half of the time that its layers take one by one."""
        from gan.models.backend import tf

        # TensorFlow may join a layer and its ReLU into one kernel, which makes 0 of NaN: the features would hide it.
        if not all(np.isfinite(weights).all() for weights in self.network.get_weights()):
            raise self._not_finite("has weights")
        images = tf.TensorSpec([None, IMAGE_SIZE, IMAGE_SIZE, 1], tf.float32)
        compiled: Callable[[np.ndarray], list[tf.Tensor]] = tf.function(
            lambda batch: self.network(batch, training=False), input_signature=[images], autograph=False
        )
        return compiled

    def features(self, pixels: np.ndarray) -> Features:
        """Compute features and class probabilities of pixels, uint8 (n, 28, 28).

        Raises:
            StoreError: If features or logits are not finite, because the weights are broken.
        """
        starts = range(0, len(pixels), BATCH_SIZE)
        batches = [self._compiled(normalize_images(pixels[start : start + BATCH_SIZE])) for start in starts]
        values, logits = (np.concatenate([np.asarray(batch[output]) for batch in batches]) for output in (0, 1))
        if not np.isfinite(values).all() or not np.isfinite(logits).all():
            raise self._not_finite("computes features")
        return Features(values, softmax(logits))

    def _not_finite(self, words: str) -> StoreError:
        return StoreError(
            f"The feature extractor {self.name} {words} that are not finite; its features measure nothing.\n"
            "If it was fitted on your own data, fit it again (--refresh); else restore the file (git checkout)."
        )


def shipped_weights(dataset: str) -> Path:
    """Return the path of the weights for a data set in `SHIPPED_SHA256`."""
    return Path(__file__).with_name(f"features.{dataset}.keras")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, float64 (n, num_classes), of logits, float (n, num_classes), without overflow."""
    logits = logits.astype(np.float64)  # the difference of two large float32 may overflow
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
