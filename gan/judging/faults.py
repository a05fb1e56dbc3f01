"""The faults of a generator that need no comparison with another one: it is useless, or too far from real images."""

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt

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

MIN_FLOOR = 0.1
"""Precision and coverage say nothing if those of real images are below this, because test images repeat each other."""

MAX_EXTRA_COPIES, MAX_EXTRA_DUPLICATES = 0.05, 0.4
"""Limits on the shares of near copies and near duplicates, above their floors. The averaged weights of `article` have
14 to 26 % near duplicates, which vary between seeds, and must pass."""

NEAR_FLOOR = 0.9
"""Recall measures variety only if precision is at least this share of its floor. Otherwise generated images lie far
apart, their k-nearest-neighbour balls are large, and recall is too high."""

MIN_ENTROPY_BITS, VARIED_BITS = 1.0, 2.0
"""Limit on the entropy of the predicted classes, and the entropy of test images from which it applies. Test images of
two or three classes have too little entropy for a limit of one bit."""

SIGNIFICANT_ERRORS = 3
"""A share is significantly higher than chance if it is so many standard errors above it."""

BROKEN, FAR_FROM_REAL = "Broken", "Far from real"
"""Badges of a run with one of `fatal_faults`, and of one with one of the faults that `far_from_real` describes."""


def fatal_faults(
    by_name: Mapping[str, Metric], classes: Sequence[ClassShare], warnings: Sequence[str]
) -> Iterator[str]:
    """Describe each fault that makes a generator useless: undefined metrics, collapse, copies, repeats, few classes."""
    for metric in by_name.values():
        if not is_defined(metric.average) or not is_defined(metric.floor):
            yield f"{metric.title} is not defined: {metric.why}."
    if warnings:
        yield f"Its training showed signs of collapse: {' '.join(warnings)}"
    yield from (f"It {fault}." for fault in useless_images(by_name, classes))


def useless_images(by_name: Mapping[str, Metric], classes: Sequence[ClassShare]) -> Iterator[str]:
    """Describe each fault of the images that makes a generator useless, as the rest of a sentence after "it"."""
    copies, duplicates, entropy = (by_name[name] for name in ("near_copies", "near_duplicates", "class_entropy"))
    if _exceeds_floor(copies, MAX_EXTRA_COPIES):
        found, floor = describe_share(copies.average), describe_share(copies.floor)
        yield f"copies training images: {found} of its images are near copies (of test images: {floor})"
    if _exceeds_floor(duplicates, MAX_EXTRA_DUPLICATES):
        found, floor = describe_share(duplicates.average), describe_share(duplicates.floor)
        yield f"repeats itself: {found} of its images are near duplicates of others (of real images: {floor})"
    if _is_of_few_classes(entropy, classes):
        found, real = describe_number(entropy.average), describe_number(real_entropy(classes))
        yield f"makes images of few classes: their predicted classes have an entropy of {found} bits (real: {real})"


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
        yield f"It {missing}."


def useless_metrics(by_name: Mapping[str, Metric]) -> Iterator[str]:
    """Describe each metric that cannot fail any generator, because its value for real images is almost 0."""
    for name in ("precision", "coverage"):
        metric = by_name[name]
        if is_defined(metric.floor) and metric.floor < MIN_FLOOR:
            floor = describe_share(metric.floor)
            yield f"{metric.title} says nothing, since that of real images is {floor}: test images may be repeated."


def describe_missing(by_name: Mapping[str, Metric], classes: Sequence[ClassShare]) -> str:
    """Name the missing classes and their share of all images, as the rest of a sentence; empty if there are none.

    Empty too if too few images lie among real ones, because the predicted classes of such images mean nothing.
    """
    precision = by_name["precision"]
    if _is_below(precision, MIN_RELATIVE_PRECISION):
        return ""
    missing = missing_classes(classes, precision.n)
    if not missing:
        return ""
    names = list_names([each.name for each in missing])
    generated, real = sum(each.generated for each in missing), sum(each.real for each in missing)
    shares = f"predicted for {describe_share(generated)} of its images, and for {describe_share(real)} of test images"
    return f"makes hardly any images of {len(missing)} of {len(classes)} classes: {names} ({shares})"


def doubts_recall(precision: float | None, floor: float | None) -> bool:
    """Return whether recall is no measure of variety, because precision is too low or not defined."""
    return not is_defined(precision) or not is_defined(floor) or precision < NEAR_FLOOR * floor


def _is_below(metric: Metric, share: float) -> bool:
    """Return whether a metric of the averaged weights is below a share of its floor; False if either is not defined."""
    return is_defined(metric.average) and is_defined(metric.floor) and metric.average < share * metric.floor


def _exceeds_floor(metric: Metric, extra: float) -> bool:
    """Return whether a share is above its floor by more than `extra`, and significantly; False if not defined.

    The standard error is that of the two-proportion test: both shares are pooled, so it is not 0 where the floor
    happens to be 0. Images count as independent. Near duplicates come in pairs, but their limit is far above chance.
    """
    share, floor = metric.average, metric.floor
    if not is_defined(share) or not is_defined(floor):
        return False
    pooled = (share * metric.n + floor * metric.floor_n) / (metric.n + metric.floor_n)
    standard_error = sqrt(pooled * (1 - pooled) * (1 / metric.n + 1 / metric.floor_n))
    return share > floor + max(extra, SIGNIFICANT_ERRORS * standard_error)


def _is_of_few_classes(entropy: Metric, classes: Sequence[ClassShare]) -> bool:
    """Return whether the class entropy is below MIN_ENTROPY_BITS although that of test images is at least VARIED_BITS.

    For test images of lower entropy, such as those of two classes, `describe_missing` says what is missing.
    """
    return is_defined(entropy.average) and entropy.average < MIN_ENTROPY_BITS and real_entropy(classes) >= VARIED_BITS
