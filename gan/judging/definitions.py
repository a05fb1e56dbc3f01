"""The numbers that a comparison ends with: what they are called, how they are read, and how they are computed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from gan.judging.evidence import Evidence
from gan.judging.features import GREY_LEVELS, HALF_RESOLUTION
from gan.judging.measured import MeasuredNumbers, Number
from gan.judging.metrics.classes import class_entropy
from gan.judging.metrics.frechet import frechet_distance
from gan.judging.metrics.pixels import intensity_distance

Better = Literal["lower", "higher", "as real", "no more than real"]


@dataclass(frozen=True)
class Definition:
    """A metric: what it is called, how it is read, and how it is computed.

    `measure` gives NaN where the metric is not defined; `undefined` says when that is so.
    """

    name: str
    title: str
    better: Better
    reading: str
    measure: Callable[[Evidence], float]
    features: str = ""  # the extractor's, if empty
    standard_error: Callable[[Evidence], float] | None = None
    mutual: bool = False  # whether it is made of what images say of each other (`gan.judging.mutual`)
    undefined: str = "the computation gives no finite number"

    def cost(self, value: float, real: float) -> float:
        """What two generators are compared by: the value, or its distance from that of real images if that is best."""
        if self.better == "as real":
            return abs(value - real)
        return float(np.maximum(0.0, value - real)) if self.better == "no more than real" else value  # NaN stays


METRICS = (
    Definition(
        "frechet_distance",
        "Fréchet distance",
        "lower",
        "between the features of real and generated images; compare only equal n",
        lambda e: frechet_distance(e.real.features, e.fake.features),
    ),
    Definition(
        "kernel_distance",
        "Kernel distance",
        "lower",
        "the same question, not biased by n; about 0 for real images",
        lambda e: float(e.fake.kernel_terms.mean()),
        standard_error=lambda e: float(e.fake.kernel_terms.std(ddof=1) / np.sqrt(len(e.fake.kernel_terms))),
    ),
    Definition(
        "precision",
        "Precision",
        "higher",
        "share of generated images that lie among real ones: how good they are",
        lambda e: float(e.fake.precise.mean()),
        mutual=True,
    ),
    Definition(
        "recall",
        "Recall",
        "higher",
        "share of real images that lie among generated ones: how much is covered; noise lowers it too",
        lambda e: float(e.real.recalled.mean()),
        mutual=True,
    ),
    Definition(
        "density",
        "Density",
        "higher",
        "how crowded with real images the places of the generated ones are; 1 for real images",
        lambda e: float(e.fake.density.mean()),
        mutual=True,
    ),
    Definition(
        "coverage",
        "Coverage",
        "higher",
        "share of real images with a generated one in their neighbourhood",
        lambda e: float(e.real.covered.mean()),
        mutual=True,
    ),
    Definition(
        "two_sample_accuracy",
        "Two-sample accuracy",
        "lower",
        "how often a classifier tells real from generated; 0.5 is guessing",
        lambda e: float(((e.real.logits > 0).mean() + (e.fake.logits <= 0).mean()) / 2),
        mutual=True,
    ),
    Definition(
        "class_entropy",
        "Class entropy",
        "as real",
        "bits in the predicted classes; log2 of their number if all come equally often",
        lambda e: class_entropy(e.fake.classes, e.num_classes),
    ),
    Definition(
        "confidence",
        "Confidence",
        "as real",
        "of the classifier in its class: lower is none of them, higher too typical a one",
        lambda e: float(e.fake.confidence.mean()),
    ),
    Definition(
        "nearest_training_image",
        "Nearest training image",
        "as real",
        "its distance relative to that of test images; far below 1 is copying, above is noise",
        lambda e: float(np.median(e.fake.relative_distance)),
        features=HALF_RESOLUTION,
        undefined="at least half of the test images equal training images, so their usual distance is 0",
    ),
    Definition(
        "near_copies",
        "Near copies",
        "no more than real",
        "share that is as near to a training image as the nearest 1 % of test images of its class; noise hides copies",
        lambda e: float(e.fake.near_copy.mean()),
        features=HALF_RESOLUTION,
    ),
    Definition(
        "total_variation",
        "Total variation",
        "as real",
        "between neighbouring pixels: more is noise, less is blur",
        lambda e: float(e.fake.variation.mean()),
        features=GREY_LEVELS,
    ),
    Definition(
        "intensity_distance",
        "Intensity distance",
        "lower",
        "between the histograms of grey levels",
        lambda e: intensity_distance(e.real.intensities.mean(axis=0), e.fake.intensities.mean(axis=0)),
        features=GREY_LEVELS,
    ),
)
"""In the order in which they are shown."""


class AskedClasses(MeasuredNumbers):
    """How often the judge's classifier takes an image for the class that was asked for, 0 to 1."""

    value: Number = Field(description="of generated images")
    average: Number = Field(description="of images of the averaged generator")
    real: Number = Field(description="of test images and their labels: the classifier errs too")


class Metric(MeasuredNumbers):
    """One measured quantity; what is not defined is None, with the reason in `undefined`."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"standard_error"})

    name: str = Field(description="key in metrics.json")
    title: str = Field(description="what a table calls it")
    value: Number = Field(description="generated images against test images")
    average: Number = Field(description="the same for images of the averaged generator")
    floor: Number = Field(description="the same for real training images: what a perfect generator would reach")
    standard_error: Number = Field(None, description="of value, where the estimator has one")
    n: int = Field(description="images on each side")
    floor_n: int = Field(description="the same of the floor; fewer where test images stand in for training images")
    better: Better
    extractor: str = Field(description="the features that it is computed on")
    reading: str = Field(description="how to read it, in a few words")
