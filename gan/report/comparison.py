"""Compare two generators: images of the same latents, and the difference in every metric with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gan.judging.bootstrap import Difference, bootstrap_differences
from gan.judging.judge import Judge
from gan.report.rendering import tiles_png

NUM_SHOWN, COLUMNS = 32, 8

InputShapes = list[tuple[int | None, ...]]


@dataclass(frozen=True)
class Contestant:
    """One of the two runs of a comparison."""

    name: str
    shown: np.ndarray  # uint8 (k, 28, 28): images of the same latents as the other run's if the input shapes are equal
    input_shapes: InputShapes  # of the generator: latents, and classes if it is conditional
    samples: np.ndarray  # uint8 (n, 28, 28)
    average_samples: np.ndarray  # uint8 (n, 28, 28)


@dataclass(frozen=True)
class RunComparison:
    """The comparison of two runs, for the last and the averaged weights."""

    NOTE: ClassVar[str] = (
        "The intervals cover the randomness of drawing images; together, the intervals of all metrics hold at 95 %. An "
        "interval that contains zero shows no difference, which does not prove that there is none. The intervals are "
        "about these two trainings: another seed of the same recipe may differ by more. (from real): the difference is "
        "between the distances to the value of real images."
    )

    this_name: str
    other_name: str
    same_latents: bool
    this_picture: bytes  # PNG
    other_picture: bytes
    differences: Sequence[Difference]
    average_differences: Sequence[Difference]
    n: int
    extractor: str

    @property
    def verdict(self) -> str:
        """One sentence that names the metrics which are better or worse beyond noise."""
        return (
            f"Against {self.other_name}: the last weights {_summarize(self.differences)}; "
            f"the averaged weights {_summarize(self.average_differences)}."
        )


def compare_runs(judge: Judge, this: Contestant, other: Contestant, *, seed: int) -> RunComparison:
    """Judge two runs against the same test images.

    Args:
        judge: A judge of n images; both runs have at least n samples.
        this: The run under test.
        other: The reference.
        seed: Seed of the bootstrap.
    """
    differences, average_differences = (
        bootstrap_differences(
            judge.examine(mine), judge.examine(theirs), judge.floor, extractor=judge.extractor.name, seed=seed
        )
        for mine, theirs in ((this.samples, other.samples), (this.average_samples, other.average_samples))
    )
    return RunComparison(
        this_name=this.name,
        other_name=other.name,
        same_latents=this.input_shapes == other.input_shapes,
        this_picture=tiles_png(this.shown[:NUM_SHOWN], COLUMNS),
        other_picture=tiles_png(other.shown[:NUM_SHOWN], COLUMNS),
        differences=differences,
        average_differences=average_differences,
        n=judge.n,
        extractor=judge.extractor.name,
    )


def _summarize(differences: Sequence[Difference]) -> str:
    titles = {
        verdict: [row.title for row in differences if row.verdict == verdict]
        for verdict in ("better", "worse", "not defined")
    }
    undefined = titles.pop("not defined")
    note = f" (not defined: {', '.join(undefined)})" if undefined else ""
    counts = [
        f"are {verdict} by {len(names)} of {len(differences)} metrics ({', '.join(names)})"
        for verdict, names in titles.items()
        if names
    ]
    return (" and ".join(counts) or "show no difference beyond noise") + note
