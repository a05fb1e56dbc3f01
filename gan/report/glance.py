"""What a reader of a report sees first: a verdict of one sentence, and four numbers, all of the averaged weights."""

from collections.abc import Mapping, Sequence
from math import log, sqrt
from typing import Any, Literal, NamedTuple

from gan.formatting import describe_number, describe_share
from gan.judging.bootstrap import Difference
from gan.judging.class_shares import ClassShare
from gan.judging.definitions import SHARES, Metric, Separation
from gan.judging.faults import (
    BROKEN,
    FAR_FROM_REAL,
    MAX_RELATIVE_DISTANCE,
    SIGNIFICANT_ERRORS,
    describe_missing,
    doubts_recall,
    far_from_real,
    fatal_faults,
    useless_images,
)
from gan.judging.gate import MUST_IMPROVE, Decision
from gan.judging.measured import is_defined

EASY_ACCURACY, DISTINGUISHABLE_ACCURACY = 0.9, 0.75
"""Images count as easy to tell from real ones, or as distinguishable, from this accuracy on."""

CHANCE_MARGIN = 0.03
"""Excess over an accuracy of 0.5 that still counts as chance."""

Tone = Literal["good", "neutral", "bad"]


class Opinion(NamedTuple):
    """What a run is worth, in words."""

    words: str
    tone: Tone


PASSES, WORSE = "Passes the gate", "Worse than the champion"
TONES: Mapping[str, Tone] = {PASSES: "good", BROKEN: "bad", FAR_FROM_REAL: "bad"}
"""The tone of a badge by its words; all others are neutral."""


class Tile(NamedTuple):
    """One number, beside that of real images and that of the champion."""

    title: str
    value: str
    real: str
    champion: str  # empty without a champion, and where it has no such number
    length: float  # of its bar, 0 to 100
    mark: float  # where real images are on the bar, 0 to 100
    doubt: str = ""  # why the number must not be read as it usually is


def badge(
    metrics: Mapping[str, Metric], classes: Sequence[ClassShare], warnings: Sequence[str], gate: Decision
) -> Opinion:
    """Return the badge of a run: whether it passes the gate, and if not, for which kind of reason.

    Args:
        metrics: By name.
        classes: How often each class is predicted.
        warnings: Signs of collapse in the training.
        gate: The decision of the gate on the run.
    """
    words = _badge_words(metrics, classes, warnings, gate)
    return Opinion(words, TONES.get(words, "neutral"))


def _badge_words(
    metrics: Mapping[str, Metric], classes: Sequence[ClassShare], warnings: Sequence[str], gate: Decision
) -> str:
    if gate.passes:
        return PASSES
    if any(fatal_faults(metrics, classes, warnings)):
        return BROKEN
    if any(far_from_real(metrics, classes)):
        return FAR_FROM_REAL
    distance = [row.verdict for row in gate.differences if row.name == MUST_IMPROVE]
    if distance in ([], ["better"]):  # it was judged on too few images, or falls short in another number
        return "Not fit for the gate"
    return WORSE if distance == ["worse"] else "No better than the champion"


def verdict(metrics: Mapping[str, Metric], classes: Sequence[ClassShare], separation: Separation) -> str:
    """Say in one sentence whether the images can be told from real ones, or what is wrong with them."""
    if fault := _headline_fault(metrics, classes):
        return f"The generator {fault}."
    linear = metrics["two_sample_accuracy"]
    accuracy, _, classifier = _stronger_classifier(separation, linear)
    by_chance, guessing = SIGNIFICANT_ERRORS * 0.5 / sqrt(2 * linear.n), "guessing: 50 %"
    if accuracy >= EASY_ACCURACY:
        conclusion = "Easy to tell from real images"
    elif accuracy >= DISTINGUISHABLE_ACCURACY:
        conclusion = "Can be told from real images"
    elif accuracy >= 0.5 + max(CHANCE_MARGIN, by_chance):
        conclusion = "Can sometimes be told from real images"
    elif by_chance <= CHANCE_MARGIN:
        conclusion = "Can hardly be told from real images"
    else:
        conclusion = "Too few images to say whether they can be told from real ones"
        guessing += f", by chance up to {describe_share(0.5 + by_chance)} with {linear.n:,} images"
    return f"{conclusion}: {classifier} is right for {describe_share(accuracy)} of unseen images ({guessing})."


def _headline_fault(metrics: Mapping[str, Metric], classes: Sequence[ClassShare]) -> str:
    """Return the fault that the verdict is about, as the rest of a sentence; empty if it is about the accuracy.

    A missing class is not the main fault if precision is below NEAR_FLOOR of its floor.
    """
    precision, missing = metrics["precision"], describe_missing(metrics, classes)
    if missing and doubts_recall(precision.average, precision.floor):
        missing = ""
    return next(useless_images(metrics, classes), missing)


def make_tiles(
    metrics: Mapping[str, Metric], separation: Separation, against_champion: Sequence[Difference] = ()
) -> tuple[Tile, ...]:
    """Return the four numbers that a report begins with."""
    comparable = [row for row in against_champion if row.n == metrics[row.name].n]
    champion = {row.name: _describe_rival(row, metrics[row.name].floor) for row in comparable}
    told, floor, _ = _stronger_classifier(separation, metrics["two_sample_accuracy"])
    distance = metrics["frechet_distance"]
    return (
        Tile(
            "Told from real",
            describe_share(told),
            describe_share(floor),
            champion="",
            length=_above_guessing(told),
            mark=_above_guessing(floor),
        ),
        Tile(
            "Fréchet distance",
            describe_number(distance.average),
            describe_number(distance.floor),
            champion=champion.get("frechet_distance", ""),
            length=_on_scale(distance.average, distance.floor),
            mark=0.0,
        ),
        _share_tile("Recall", metrics["recall"], champion.get("recall", ""), _doubt_about_recall(metrics["precision"])),
        _share_tile("Coverage", metrics["coverage"], champion.get("coverage", "")),
    )


def _share_tile(title: str, metric: Metric, champion: str, doubt: str = "") -> Tile:
    """Return the tile of a metric that is a share, 0 to 1."""
    value, real = metric.average, metric.floor
    length, mark = 100 * (value or 0.0), 100 * (real or 0.0)
    return Tile(title, describe_share(value), describe_share(real), champion, length, mark, doubt)


def _describe_rival(row: Difference, real: float | None) -> str:
    """Describe the champion's value. A comparison does not count by how much it is better than that of real images."""
    text = describe_share(row.other) if row.name in SHARES else describe_number(row.other)
    is_at_least = row.better == "up to real" and is_defined(row.other) and is_defined(real) and row.other >= real
    return f"at least {text}" if is_at_least else text


def published_tiles(content: Mapping[str, Any]) -> tuple[Tile, ...]:
    """Return the four numbers of a published run, from the content of its `metrics.json`."""
    names = ("two_sample_accuracy", "frechet_distance", "precision", "recall", "coverage")
    metrics = {name: Metric.model_validate({"name": name, **content["metrics"][name]}) for name in names}
    return make_tiles(metrics, Separation.model_validate(content["separation"]))


def glance_line(content: Mapping[str, Any]) -> str:
    """Return the tiles as one line, without those that carry a doubt, from the content of `metrics.json`."""
    tiles = published_tiles(content)
    parts = ", ".join(f"{tile.title} {tile.value} ({tile.real})" for tile in tiles if not tile.doubt)
    return f"{parts}: averaged weights (real images)"


def _stronger_classifier(separation: Separation, linear: Metric) -> tuple[float, float, str]:
    """Return accuracy, floor and name of the classifier that is right more often: usually the network."""
    if is_defined(linear.average) and is_defined(linear.floor) and linear.average > separation.accuracy:
        return linear.average, linear.floor, "a linear classifier on features"
    return separation.accuracy, separation.floor, "a trained network"


def _doubt_about_recall(precision: Metric) -> str:
    """Return why recall is no measure of variety for these images; empty if it is one."""
    if not doubts_recall(precision.average, precision.floor):
        return ""
    if is_defined(precision.average) and is_defined(precision.floor):
        share, real = describe_share(precision.average), describe_share(precision.floor)
        return f"No measure of variety here: precision is only {share} (real images: {real})."
    return "No measure of variety here: precision is not defined."


def _above_guessing(accuracy: float | None) -> float:
    return min(100.0, max(0.0, 200 * ((accuracy or 0.5) - 0.5)))


def _on_scale(distance: float | None, floor: float | None) -> float:
    """Return the place of a distance on a logarithmic scale: 0 at the floor, 100 at the limit for 10,000 images."""
    if not is_defined(distance) or not is_defined(floor) or min(distance, floor) <= 0:
        return 0.0
    return min(100.0, max(0.0, 100 * log(distance / floor) / log(MAX_RELATIVE_DISTANCE)))
