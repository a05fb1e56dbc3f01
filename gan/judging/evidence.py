"""What is found of each image of a comparison."""

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np


@dataclass(frozen=True)
class RealSide:
    """Of each test image, in one order; the last four depend on the generated images too."""

    features: np.ndarray  # float32 (n, d)
    intensities: np.ndarray  # float32 (n, 256)
    recalled: np.ndarray  # bool (n,)
    covered: np.ndarray  # bool (n,)
    logits: np.ndarray  # float64 (n,): how real it looks to a classifier that was fitted without it


@dataclass(frozen=True)
class FakeSide:
    """Of each generated image."""

    features: np.ndarray  # float32 (n, d)
    classes: np.ndarray  # int64 (n,), predicted
    confidence: np.ndarray  # float64 (n,)
    precise: np.ndarray  # bool (n,)
    density: np.ndarray  # float64 (n,)
    kernel_terms: np.ndarray  # float64 (n,)
    logits: np.ndarray  # float64 (n,): how real it looks to a classifier that was fitted without it
    nearest: np.ndarray  # int64 (n,): index of the nearest training image
    relative_distance: np.ndarray  # float64 (n,)
    near_copy: np.ndarray  # bool (n,)
    variation: np.ndarray  # float64 (n,)
    intensities: np.ndarray  # float32 (n, 256)


Side = TypeVar("Side", RealSide, FakeSide)


@dataclass(frozen=True)
class Evidence:
    """What is found of n generated images beside n test images."""

    real: RealSide
    fake: FakeSide
    num_classes: int

    def take(self, real_rows: np.ndarray, fake_rows: np.ndarray) -> "Evidence":
        """The same of chosen images, some perhaps several times (a bootstrap's resample)."""
        return Evidence(_take(self.real, real_rows), _take(self.fake, fake_rows), self.num_classes)


def _take(side: Side, rows: np.ndarray) -> Side:
    return type(side)(**{field.name: getattr(side, field.name)[rows] for field in fields(side)})
