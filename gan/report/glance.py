"""What a reader of a report sees first: a verdict of one sentence, and four numbers, all of the averaged weights."""

from collections.abc import Mapping, Sequence
from math import log, sqrt
from typing import Any, NamedTuple

from gan.formatting import describe_number, describe_share
from gan.judging.bootstrap import Difference
from gan.judging.definitions import Metric, Separation
from gan.judging.gate import (
    MAX_RELATIVE_DISTANCE,
    SIGNIFICANT_ERRORS,
    copies_training_images,
    lacks_diversity,
)
from gan.judging.measured import is_defined

EASY_ACCURACY, DISTINGUISHABLE_ACCURACY = 0.9, 0.75
"""Images count as easy to tell from real ones, or as distinguishable, from this accuracy on."""

CHANCE_MARGIN = 0.03
"""Excess over an accuracy of 0.5 that still counts as chance."""

SHARES = {"recall": "Recall", "coverage": "Coverage"}


class Tile(NamedTuple):
    """One number, beside that of real images and that of the champion."""

    title: str
    value: str
    real: str
    champion: str  # empty without a champion, and where it has no such number
    length: float  # of its bar, 0 to 100
    mark: float  # where real images are on the bar, 0 to 100


def verdict(metrics: Mapping[str, Metric], separation: Separation) -> str:
    """Say in one sentence whether the images can be told from real ones, or what is wrong with them."""
    copies, entropy = metrics["near_copies"], metrics["class_entropy"]
    if copies_training_images(copies.average, metrics):
        share, real = describe_share(copies.average), describe_share(copies.floor)
        return f"The generator copies training images: {share} of its images are near copies (of test images: {real})."
    if lacks_diversity(entropy.average, metrics):
        bits, real = describe_number(entropy.average), describe_number(entropy.floor)
        return f"The generator makes only a few different images: their classes hold {bits} bits (real images: {real})."
    accuracy, _, judge = _strongest_judge(separation, metrics["two_sample_accuracy"])
    if accuracy >= EASY_ACCURACY:
        conclusion = "Easy to tell from real images"
    elif accuracy >= DISTINGUISHABLE_ACCURACY:
        conclusion = "Can be told from real images"
    elif accuracy >= 0.5 + max(CHANCE_MARGIN, SIGNIFICANT_ERRORS * 0.5 / sqrt(2 * copies.n)):
        conclusion = "Can sometimes be told from real images"
    else:
        conclusion = "Can hardly be told from real images"
    return f"{conclusion}: {judge} is right for {describe_share(accuracy)} of unseen images (guessing: 50 %)."


def make_tiles(
    metrics: Mapping[str, Metric], separation: Separation, against_champion: Sequence[Difference] = ()
) -> tuple[Tile, ...]:
    """Return the four numbers that a report begins with."""
    champion = {row.name: row.other for row in against_champion if row.n == metrics[row.name].n}
    told, floor, _ = _strongest_judge(separation, metrics["two_sample_accuracy"])
    distance = metrics["frechet_distance"]
    on_scale = [_on_scale(value, distance.floor) for value in (distance.average, distance.floor)]
    rival = champion.get("frechet_distance")
    return (
        Tile("Told from real", describe_share(told), describe_share(floor), "", *map(_above_guessing, (told, floor))),
        Tile(
            "Fréchet distance",
            describe_number(distance.average),
            describe_number(distance.floor),
            "" if rival is None else describe_number(rival),
            *on_scale,
        ),
        *(
            Tile(
                title,
                describe_share(metrics[name].average),
                describe_share(metrics[name].floor),
                "" if champion.get(name) is None else describe_share(champion[name]),
                *(100 * (value or 0.0) for value in (metrics[name].average, metrics[name].floor)),
            )
            for name, title in SHARES.items()
        ),
    )


def glance_line(content: Mapping[str, Any]) -> str:
    """Return the four numbers as one line, from the content of `metrics.json`."""
    names = ("two_sample_accuracy", "frechet_distance", *SHARES)
    metrics = {name: Metric.model_validate({"name": name, **content["metrics"][name]}) for name in names}
    tiles = make_tiles(metrics, Separation.model_validate(content["separation"]))
    parts = ", ".join(f"{tile.title} {tile.value} ({tile.real})" for tile in tiles)
    return f"{parts}: averaged weights (real images)"


def _strongest_judge(separation: Separation, linear: Metric) -> tuple[float, float, str]:
    """Return accuracy, floor and name of the judge that is right more often: usually the network."""
    if is_defined(linear.average) and is_defined(linear.floor) and linear.average > separation.accuracy:
        return linear.average, linear.floor, "a linear rule on features"
    return separation.accuracy, separation.floor, "a trained network"


def _above_guessing(accuracy: float) -> float:
    return min(100.0, max(0.0, 200 * (accuracy - 0.5)))


def _on_scale(distance: float | None, floor: float | None) -> float:
    """Return the place of a distance on a logarithmic scale from the floor, 0, to the gate's limit, 100."""
    if not is_defined(distance) or not is_defined(floor) or min(distance, floor) <= 0:
        return 0.0
    return min(100.0, max(0.0, 100 * log(distance / floor) / log(MAX_RELATIVE_DISTANCE)))
