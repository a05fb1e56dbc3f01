"""Definitions of the metrics: name, title, direction, explanation and computation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import BaseModel, Field

from gan.formatting import describe_value
from gan.judging.features import ALIGNED_PIXELS, GREY_LEVELS
from gan.judging.image_statistics import ImageStatistics
from gan.judging.measured import Measured, MeasuredNumbers, Number
from gan.judging.metrics.classes import class_entropy
from gan.judging.metrics.frechet import frechet_distance
from gan.judging.metrics.pixels import intensity_distance
from gan.judging.metrics.two_sample import balanced_accuracy

Better = Literal["lower", "up to real", "as real", "no more than real", "higher"]
"""Which values are good: low ones; high ones, but none above that of real images; those near it; those not above it.
"higher" occurs only in records of earlier versions."""

COMPARED_AS = {
    "lower": "",
    "up to real": ", up to real",
    "as real": ", distance from real",
    "no more than real": ", above real",
    "higher": "",
}
"""What a comparison adds to the title of a metric: which quantity is compared."""


@dataclass(frozen=True)
class Definition:
    """A metric as a function of image statistics, with the words that describe it.

    `measure` returns NaN if the metric is not defined for the given images; `undefined` states when that happens.
    """

    name: str
    title: str
    better: Better
    reading: str
    measure: Callable[[ImageStatistics], float]
    features: str = ""  # name of the features; empty for those of the extractor
    standard_error: Callable[[ImageStatistics], float] | None = None
    is_share: bool = False  # 0 to 1; pages show it as a percentage
    by_classifier: bool = False  # whether it is computed from the logits of a classifier of all images
    undefined: str = "the computation gives no finite number"

    def compared(self, value: float, real: float) -> float:
        """Return the quantity that two generators are compared by, given the metric's value for real images.

        Values on the good side of that of real images are not better than it. For example, a precision above it means
        that the images are too typical.
        """
        if self.better == "as real":
            return abs(value - real)
        if self.better == "no more than real":
            return float(np.maximum(0.0, value - real))  # keeps NaN, as np.minimum does
        return float(np.minimum(value, real)) if self.better == "up to real" else value


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
        "between the same features by a kernel, not biased by n; about 0 for real images",
        lambda e: float(e.fake.kernel_terms.mean()),
        standard_error=lambda e: float(e.fake.kernel_terms.std(ddof=1) / np.sqrt(len(e.fake.kernel_terms))),
    ),
    Definition(
        "precision",
        "Precision",
        "up to real",
        "share of generated images that lie among real ones: their quality; above the floor they are too typical",
        lambda e: float(e.fake.precise.mean() + e.real.on_precision.mean()),
        is_share=True,
    ),
    Definition(
        "recall",
        "Recall",
        "up to real",
        "share of real images that lie among generated ones: their diversity, if precision is near its floor",
        lambda e: float(e.real.recalled.mean() + e.fake.on_recall.mean()),
        is_share=True,
    ),
    Definition(
        "density",
        "Density",
        "up to real",
        "density of real images around the generated ones; 1 for real images, more for too typical ones",
        lambda e: float(e.fake.density.mean() + e.real.on_density.mean()),
    ),
    Definition(
        "coverage",
        "Coverage",
        "up to real",
        "share of real images with a generated image in their neighbourhood",
        lambda e: float(e.real.covered.mean() + e.fake.on_coverage.mean()),
        is_share=True,
    ),
    Definition(
        "two_sample_accuracy",
        "Linear two-sample accuracy",
        "lower",
        "accuracy of a linear classifier on features, for real against generated images; 50 % is chance",
        lambda e: balanced_accuracy(e.real.logits, e.fake.logits),
        by_classifier=True,
        is_share=True,
    ),
    Definition(
        "class_entropy",
        "Class entropy",
        "as real",
        "of the predicted classes, in bits; log2 of their number if all are equally frequent",
        lambda e: class_entropy(e.fake.classes, e.num_classes),
    ),
    Definition(
        "confidence",
        "Confidence",
        "as real",
        "mean probability of the predicted class; lower: unclear objects, higher: too typical ones",
        lambda e: float(e.fake.confidence.mean()),
    ),
    Definition(
        "nearest_training_image",
        "Nearest training image",
        "as real",
        "median distance to it, relative to that of test images; far below 1: copies, above 1: noise",
        lambda e: float(np.median(e.fake.relative_distance)),
        features=ALIGNED_PIXELS,
        undefined="at least half of the test images are training images, moved or not: their median distance is 0",
    ),
    Definition(
        "near_copies",
        "Near copies",
        "no more than real",
        "share as near to a training image as the nearest 1 % of test images of the same class; noise hides copies",
        lambda e: float(e.fake.near_copy.mean()),
        features=ALIGNED_PIXELS,
        is_share=True,
    ),
    Definition(
        "near_duplicates",
        "Near duplicates",
        "no more than real",
        "share as near to another generated image as the nearest 1 % of test images of the same class to another one",
        lambda e: float(e.fake.near_duplicate.mean() + e.fake.on_duplicates.mean()),
        features=ALIGNED_PIXELS,
        is_share=True,
    ),
    Definition(
        "total_variation",
        "Total variation",
        "as real",
        "between neighbouring pixels; higher: noise, lower: blur",
        lambda e: float(e.fake.variation.mean()),
        features=GREY_LEVELS,
    ),
    Definition(
        "intensity_distance",
        "Intensity distance",
        "lower",
        "between the histograms of grey levels",
        lambda e: intensity_distance(e.real.intensities, e.fake.intensities),
        features=GREY_LEVELS,
    ),
)
"""All metrics, in the order in which reports show them."""

SHARES = frozenset(definition.name for definition in METRICS if definition.is_share)
"""Names of the metrics that are shares."""


def describe_metric(name: str, value: float | None) -> str:
    """Format a value of the metric with this name."""
    return describe_value(value, is_share=name in SHARES)


class AskedClasses(MeasuredNumbers):
    """Share of images, 0 to 1, that the judge's classifier assigns to the class that they were generated for."""

    value: Number = Field(description="of images of the last weights")
    average: Number = Field(description="of images of the averaged generator")
    real: Number = Field(description="of test images, whose classes are their labels: the accuracy of the classifier")


class Separation(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How well a network that was trained to do so tells unseen images of the averaged generator from real ones."""

    accuracy: Measured = Field(description="share of both that it classifies correctly, 0 to 1; 0.5 is guessing")
    floor: Measured = Field(description="the same for real images in place of generated ones")
    num_training: int = Field(description="images of each kind that it was trained on")


class Metric(MeasuredNumbers):
    """The values of one metric in a comparison."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"standard_error"})

    name: str = Field(description="key in metrics.json")
    title: str = Field(description="name in tables")
    value: Number = Field(description="images of the last weights against test images")
    average: Number = Field(description="the same for images of the averaged generator")
    floor: Number = Field(description="the same for real images: what a perfect generator would reach")
    standard_error: Number = Field(None, description="of value, where the estimator has one")
    n: int = Field(description="images on each side")
    floor_n: int = Field(description="images of the floor: n training images, or all test images for two metrics")
    better: Better
    extractor: str = Field(description="name of the features that the metric is computed on")
    reading: str = Field(description="how to interpret the value")

    def describe(self, value: float | None) -> str:
        """Format a value of the metric."""
        return describe_metric(self.name, value)
