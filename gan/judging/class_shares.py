"""The shares of predicted classes among test and generated images, and the classes that a generator leaves out."""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, Field

from gan.judging.measured import Measured
from gan.judging.metrics.classes import entropy_bits

MAX_RELATIVE_SHARE = 0.25
"""A class is missing only if its share of generated images is below this part of its share of test images."""

MAX_P_VALUE = 0.001
"""Limit on the probability that any class of a generator with the true class shares counts as missing."""


class ClassShare(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How often a class is predicted, as a share of all images, 0 to 1."""

    name: str
    real: Measured = Field(description="of test images")
    generated: Measured = Field(description="of images of the averaged generator")


def count_classes(names: Sequence[str], real: np.ndarray, generated: np.ndarray) -> tuple[ClassShare, ...]:
    """Count predicted labels, int (n,), of test images and of generated images, for each class by its name."""
    of_real, of_generated = (np.bincount(classes, minlength=len(names)) / len(classes) for classes in (real, generated))
    rows = zip(names, of_real, of_generated, strict=True)
    return tuple(ClassShare(name=name, real=share, generated=other) for name, share, other in rows)


def real_entropy(classes: Sequence[ClassShare]) -> float:
    """Return the entropy of the predicted classes of test images, in bits."""
    return entropy_bits(np.array([each.real for each in classes]))


def missing_classes(classes: Sequence[ClassShare], n: int) -> list[ClassShare]:
    """Return the classes that hardly any generated image belongs to, beyond chance.

    Such a class has less than a quarter of its share of test images, beyond chance (one-sided exact test of Fisher
    1935, p below MAX_P_VALUE, with the Bonferroni correction for all classes).

    Args:
        classes: All classes of the data set.
        n: Number of test images, and of generated images, that the shares are of.
    """
    rare = [each for each in classes if each.generated < MAX_RELATIVE_SHARE * each.real]
    return [each for each in rare if _p_value(each, n) < MAX_P_VALUE / len(classes)]


def _p_value(share: ClassShare, n: int) -> float:
    """Return the probability of so few images of a class among n that are drawn from these n and the n test images."""
    from scipy.stats import hypergeom  # takes half a second

    real, generated = round(share.real * n), round(share.generated * n)
    return float(hypergeom.cdf(generated, 2 * n, real + generated, n))
