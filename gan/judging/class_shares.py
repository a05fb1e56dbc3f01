"""Shares of the predicted classes, of real and of generated images, and the classes that a generator leaves out."""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, Field

from gan.judging.measured import Measured
from gan.judging.metrics.classes import entropy_bits

MAX_RELATIVE_SHARE = 0.25
"""Share of a missing class among generated images, relative to real ones, that it is below."""

MAX_P_VALUE = 0.001
"""Probability that a generator with the shares of real images has a missing class by chance, for all classes."""


class ClassShare(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How often a class is predicted, as a share of all images, 0 to 1."""

    name: str
    real: Measured = Field(description="of test images")
    generated: Measured = Field(description="of images of the averaged generator")


def class_shares(names: Sequence[str], real: np.ndarray, generated: np.ndarray) -> tuple[ClassShare, ...]:
    """Count predicted labels, int (n,), of test images and of generated images, for each class by its name."""
    of_real, of_generated = (np.bincount(classes, minlength=len(names)) / len(classes) for classes in (real, generated))
    rows = zip(names, of_real, of_generated, strict=True)
    return tuple(ClassShare(name=name, real=share, generated=other) for name, share, other in rows)


def real_entropy(classes: Sequence[ClassShare]) -> float:
    """Return the entropy of the predicted classes of test images, in bits."""
    return entropy_bits(np.array([each.real for each in classes]))


def missing_classes(classes: Sequence[ClassShare], n: int) -> list[ClassShare]:
    """Return the classes that hardly any generated image belongs to, beyond chance.

    Such a class has less than a quarter of its share of real images, and the share is significantly lower (one-sided
    exact test of Fisher 1922, with the Bonferroni correction for all classes).

    Args:
        classes: All classes of the data set.
        n: Number of test images, and of generated images, that the shares are of.
    """
    rare = [each for each in classes if each.generated < MAX_RELATIVE_SHARE * each.real]
    return [each for each in rare if _p_value(each, n) < MAX_P_VALUE / len(classes)]


def _p_value(share: ClassShare, n: int) -> float:
    """Return the probability that of 2n images no more of this class are among n random ones than were generated."""
    from scipy.stats import hypergeom  # takes half a second

    real, generated = round(share.real * n), round(share.generated * n)
    return float(hypergeom.cdf(generated, 2 * n, real + generated, n))
