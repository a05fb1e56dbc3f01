"""The shares of predicted classes among test and generated images, and the classes that a generator leaves out."""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, Field

from gan.judging.measured import Measured
from gan.judging.metrics.classes import entropy_bits

MAX_RELATIVE_SHARE = 0.25
"""A class is rare if its share of generated images is below this part of its share of test images."""

NUM_PERMUTATIONS = 999
"""With so many permutations, a generator with the true class shares has missing classes with probability 0.001."""


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

    These are the rare classes, if together they have a larger share of the test images than in any of NUM_PERMUTATIONS
    random divisions of all images into two halves (a permutation test; Fisher 1935). One test of all classes together
    finds half of many classes, each of which has too few images for a test of its own. Classes that are rare by chance
    are returned with the others.

    Args:
        classes: All classes of the data set.
        n: Number of test images, and of generated images, that the shares are of.
    """
    real, generated = (np.rint([getattr(each, side) * n for each in classes]) for side in ("real", "generated"))
    is_rare = _is_rare(real, generated)
    if not is_rare.any():
        return []
    pooled = (real + generated).astype(int)
    halves = np.random.default_rng(0).multivariate_hypergeometric(pooled, int(generated.sum()), size=NUM_PERMUTATIONS)
    others = pooled - halves
    by_chance = np.where(_is_rare(others, halves), others, 0).sum(axis=1)
    if real[is_rare].sum() <= by_chance.max():
        return []
    return [each for each, rare in zip(classes, is_rare, strict=True) if rare]


def _is_rare(real: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Return whether each class is rare, from the numbers of its images, shape (..., num_classes)."""
    return generated < MAX_RELATIVE_SHARE * real
