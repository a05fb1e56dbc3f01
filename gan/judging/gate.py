"""The gate: whether a new generator is to become the champion, the one that is used.

It is asked of averaged weights, since those are what one would use. A generator passes if

    all its numbers are defined, its training showed no sign of collapse, and it neither makes few kinds of images nor
    copies; and, where there is a champion, its Fréchet distance is better beyond noise, and of MUST_NOT_WORSEN nothing
    is worse.

Noise is what `gan.judging.bootstrap` says it is: the chance in drawing images.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt

from pydantic import BaseModel, ConfigDict, Field

from gan.formatting import describe_change, describe_interval, describe_number, describe_share
from gan.judging.bootstrap import Difference
from gan.judging.definitions import Metric
from gan.judging.measured import is_defined

MUST_IMPROVE = "frechet_distance"
MUST_NOT_WORSEN = ("precision", "recall", "coverage")
"""Better pictures of fewer kinds are no progress, nor are more kinds of worse ones."""

AGREED = (MUST_IMPROVE, *MUST_NOT_WORSEN)

MANY_COPIES, FEW_BITS, MIN_COVERAGE = 0.05, 1.0, 0.1
CERTAIN = 3  # standard errors


class Decision(BaseModel):
    """What the gate says, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    passes: bool
    champion: str | None = Field(description="name of the run that was the champion then")
    reasons: tuple[str, ...] = Field(description="a sentence each: all that stands against it, or what speaks for it")
    differences: tuple[Difference, ...] = Field((), description="the agreed metrics against the champion")

    @property
    def sentence(self) -> str:
        """The decision for people."""
        against = f" against the champion {self.champion}" if self.champion else ""
        return f"{'Passes' if self.passes else 'Does not pass'} the gate{against}. {' '.join(self.reasons)}"


def decide(
    metrics: Sequence[Metric],
    warnings: Sequence[str],
    champion: str | None,
    differences: Sequence[Difference],
    obstacle: str = "",
    *,
    full_n: int,
) -> Decision:
    """Ask whether a generator is good enough, and better than the champion.

    Args:
        metrics: Its numbers; those of the averaged weights count.
        warnings: Of its training: signs of collapse.
        champion: Name of the run that is the champion; None if there is none.
        differences: Every metric's difference from the champion, averaged weights.
        obstacle: Why it cannot be compared with the champion, if it cannot.
        full_n: Images that a champion is judged by: with fewer, noise would hide what is worse, in it and in all that
            come after it.
    """
    of = {metric.name: metric for metric in metrics}
    against = [*_shortcomings(of, warnings, full_n), *([obstacle] if obstacle else [])]
    agreed = tuple(row for name in AGREED for row in differences if row.name == name)
    if champion is not None and not obstacle:
        against += _no_progress(agreed)
    reasons = against or [_progress(agreed[0]) if agreed else "There is no champion yet, and nothing is wrong with it."]
    return Decision(passes=not against, champion=champion, reasons=tuple(reasons), differences=agreed)


def _shortcomings(of: Mapping[str, Metric], warnings: Sequence[str], full_n: int) -> Iterator[str]:
    """What no champion may be."""
    if of[MUST_IMPROVE].n < full_n:
        yield f"It was judged by {of[MUST_IMPROVE].n:,} images; a champion is by {full_n:,} (--num-samples)."
    for metric in of.values():
        if not is_defined(metric.average) or not is_defined(metric.floor):
            yield f"{metric.title} is not defined: {metric.why}."
    if warnings:
        yield f"Its training showed signs of collapse: {' '.join(warnings)}"
    covered, floor, recall = of["coverage"].average, of["coverage"].floor, of["recall"].average
    expected = MIN_COVERAGE * floor if is_defined(floor) else None
    if makes_few_kinds(of["class_entropy"].average, of):
        bits = describe_number(of["class_entropy"].average)
        yield f"It makes only a few kinds of images: {bits} bits in its classes."
    elif (is_defined(covered) and is_defined(expected) and covered < expected) or recall == 0:
        yield (
            f"It makes only a few kinds of images, or none that are good: they cover {describe_share(covered)} of the "
            f"real ones (expected: {describe_share(expected)} or more), of which {describe_share(recall)} lie among "
            "them (expected: more than none)."
        )
    copies = of["near_copies"]
    if copies_training_images(copies.average, of):
        yield (
            f"It copies: {describe_share(copies.average)} of its images are near copies of training images "
            f"(test images: {describe_share(copies.floor)})."
        )


def copies_training_images(share: float | None, of: Mapping[str, Metric]) -> bool:
    """Whether so many near copies are more than real images are by chance; not if that is not defined."""
    copies = of["near_copies"]
    if not is_defined(share) or not is_defined(copies.floor):
        return False
    noise = CERTAIN * sqrt(copies.floor * (1 - copies.floor) / copies.n)
    return share > copies.floor + max(MANY_COPIES, noise)


def makes_few_kinds(entropy: float | None, of: Mapping[str, Metric]) -> bool:
    """Whether the predicted classes hold less than a bit where those of real images hold more; not if not defined."""
    floor = of["class_entropy"].floor
    return is_defined(entropy) and is_defined(floor) and entropy < FEW_BITS < floor


def _no_progress(agreed: Sequence[Difference]) -> Iterator[str]:
    if len(agreed) < len(AGREED):
        yield "It could not be compared with the champion in all that counts."
    for row in agreed:
        if row.verdict == "not defined":
            yield f"{row.title} could not be compared with the champion: it is not defined, since {row.why}."
        elif row.name == MUST_IMPROVE and row.verdict != "better":
            yield f"{_compared(row)} is not better beyond noise."
        elif row.verdict == "worse":
            yield f"{_compared(row)} is worse."


def _progress(row: Difference) -> str:
    rest = ", ".join(MUST_NOT_WORSEN[:-1]) + f" and {MUST_NOT_WORSEN[-1]}"
    return f"{_compared(row)} is better beyond noise, and {rest} are not worse."


def _compared(row: Difference) -> str:
    return (
        f"{row.title} {describe_number(row.this)} against {describe_number(row.other)} (difference "
        f"{describe_change(row.difference)}, interval {describe_interval(row.low, row.high)})"
    )
