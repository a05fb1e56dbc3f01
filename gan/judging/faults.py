"""The faults of a generator that need no comparison with another one: it is useless, or too far from real images."""

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt

import numpy as np

from gan.formatting import describe_number, describe_share, list_names
from gan.judging.class_shares import ClassShare, missing_classes, real_entropy
from gan.judging.definitions import Metric
from gan.judging.measured import is_defined

MAX_RELATIVE_DISTANCE, MIN_RELATIVE_PRECISION, MIN_RELATIVE_COVERAGE = 200, 0.5, 0.25
"""Limits on Fréchet distance, precision and coverage, relative to the floor of FULL_N images. The averaged weights of
`article` are within them (150, 0.93, 0.37); its last weights are not (290, 0.86, 0.15), nor is noise with some good
images in it."""

FULL_N = 10_000
"""Number of images that a champion is judged by; the whole test split if that is smaller."""

MAX_EXTRA_COPIES = 0.05
MIN_ENTROPY_BITS, MIN_RELATIVE_ENTROPY = 1.0, 0.5
"""Of the predicted classes. The lower one applies, since real images of two classes have one bit at most."""

SIGNIFICANT_ERRORS = 3
"""A share is significantly higher than chance if it is so many standard errors above it."""

BROKEN, FAR_FROM_REAL = "Broken", "Far from real"
"""Badges of a run with one of `fatal_faults`, and of one with one of the faults that `far_from_real` describes."""


def fatal_faults(
    by_name: Mapping[str, Metric], classes: Sequence[ClassShare], warnings: Sequence[str]
) -> Iterator[str]:
    """Describe each fault that makes a generator useless: undefined metrics, collapse, few different images, copies."""
    for metric in by_name.values():
        if not is_defined(metric.average) or not is_defined(metric.floor):
            yield f"{metric.title} is not defined: {metric.why}."
    if warnings:
        yield f"Its training showed signs of collapse: {' '.join(warnings)}"
    entropy, copies = by_name["class_entropy"], by_name["near_copies"]
    if lacks_diversity(entropy, classes):
        bits = describe_number(entropy.average)
        yield f"It generates only a few different images: the entropy of their predicted classes is {bits} bits."
    if copies_training_images(copies.average, by_name):
        yield (
            f"It copies: {describe_share(copies.average)} of its images are near copies of training images "
            f"(test images: {describe_share(copies.floor)})."
        )


def far_from_real(by_name: Mapping[str, Metric], classes: Sequence[ClassShare]) -> Iterator[str]:
    """Describe each way in which the images are too far from real ones.

    The limits on distance, precision and coverage are relative to the floor; recall must not be 0, and no class must be
    missing.
    """
    distance, precision, coverage = (by_name[name] for name in ("frechet_distance", "precision", "coverage"))
    if is_defined(distance.average) and is_defined(distance.floor):
        # The floor grows as 1 / n; the distance of a bad generator, apart from the floor, does not.
        times = 1 + (MAX_RELATIVE_DISTANCE - 1) * min(1.0, distance.n / FULL_N)
        limit = times * distance.floor
        if distance.average > limit:
            yield (
                f"It is too far from real images: its Fréchet distance is {describe_number(distance.average)}, and "
                f"{describe_number(times)} times the floor is {describe_number(limit)}."
            )
    limits = (
        (precision, MIN_RELATIVE_PRECISION, "Too few of its images lie among real ones"),
        (coverage, MIN_RELATIVE_COVERAGE, "It generates too few of the images that occur"),
    )
    for metric, share, meaning in limits:
        if metric.floor and _is_below(metric, share):
            found, least = describe_share(metric.average, 3), describe_share(share * metric.floor, 3)
            part = describe_share(share)
            yield f"{meaning}: its {metric.title.lower()} is {found}, and {part} of the floor is {least}."
    if by_name["recall"].average == 0:
        yield "No real image lies among its images: its recall is 0 %."
    if missing := describe_missing(by_name, classes):
        yield f"It generates hardly any images of {missing}."


def describe_missing(by_name: Mapping[str, Metric], classes: Sequence[ClassShare]) -> str:
    """Name the missing classes, with their share of all images together; empty if there are none.

    Empty too if too few images lie among real ones, because the predicted classes of such images mean nothing.
    """
    precision = by_name["precision"]
    missing = missing_classes(classes, precision.n)
    if not missing or _is_below(precision, MIN_RELATIVE_PRECISION):
        return ""
    names = list_names([each.name for each in missing])
    generated, real = sum(each.generated for each in missing), sum(each.real for each in missing)
    shares = f"{describe_share(generated)} of its images, {describe_share(real)} of test images"
    return f"{len(missing)} of {len(classes)} classes: {names} ({shares})"


def _is_below(metric: Metric, share: float) -> bool:
    """Return whether a metric of the averaged weights is below a share of its floor; False if either is not defined."""
    return is_defined(metric.average) and is_defined(metric.floor) and metric.average < share * metric.floor


def copies_training_images(share: float | None, by_name: Mapping[str, Metric]) -> bool:
    """Return whether a share of near copies is significantly above that of real images; False if not defined.

    The standard error is that of the two-proportion test: both shares are pooled, so it is not 0 where no test image
    happens to be a near copy.
    """
    copies = by_name["near_copies"]
    if not is_defined(share) or not is_defined(copies.floor):
        return False
    pooled = (share * copies.n + copies.floor * copies.floor_n) / (copies.n + copies.floor_n)
    standard_error = sqrt(pooled * (1 - pooled) * (1 / copies.n + 1 / copies.floor_n))
    return share > copies.floor + max(MAX_EXTRA_COPIES, SIGNIFICANT_ERRORS * standard_error)


def lacks_diversity(entropy: Metric, classes: Sequence[ClassShare]) -> bool:
    """Return whether the class entropy is below one bit, and below half of that of test images beyond chance.

    The standard error of an entropy is the standard deviation of -log2 p over the images, divided by sqrt(n) (delta
    method). The floor is not used: training images of rare classes may be recognized far better than other images.
    """
    found, real = entropy.average, real_entropy(classes)
    if not is_defined(found):
        return False
    shares = np.array([each.real for each in classes if each.real])
    variance = max(0.0, float((shares * np.log2(shares) ** 2).sum()) - real**2)
    limit = min(MIN_ENTROPY_BITS, MIN_RELATIVE_ENTROPY * real)
    return found < limit and real - found > SIGNIFICANT_ERRORS * sqrt(2 * variance / entropy.n)
