"""Two generators side by side: pictures of the same latents, and every metric's difference with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gan.judging.bootstrap import Difference, bootstrap_differences
from gan.judging.judge import Judge
from gan.report.exhibits import tiles

NUM_SHOWN, COLUMNS = 32, 8


@dataclass(frozen=True)
class Contestant:
    """A run that takes part in a comparison."""

    name: str
    shown: np.ndarray  # uint8 (k, 28, 28): images of the same latents as the other's, if both take such latents
    samples: np.ndarray  # uint8 (n, 28, 28)
    average_samples: np.ndarray  # uint8 (n, 28, 28)


@dataclass(frozen=True)
class RunComparison:
    """What a page shows of a comparison; the last weights, and the averaged ones."""

    NOTE: ClassVar[str] = (
        "Intervals are of the chance in drawing images; those of all metrics hold together at 95 %. One that holds "
        "zero shows no difference, which does not prove that there is none; and they are about these two trainings: "
        "another seed of the same recipe may differ by more. (from real): the difference is of the distances from the "
        "value of real images."
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
        """One sentence: which metrics are better, which worse, beyond noise."""
        kinds = (("the last weights", self.differences), ("the averaged weights", self.average_differences))
        return f"Against {self.other_name}: " + "; ".join(f"{kind} {_summary(rows)}" for kind, rows in kinds) + "."


def compare_runs(judge: Judge, this: Contestant, other: Contestant, *, same_latents: bool, seed: int) -> RunComparison:
    """Judge two runs against the same test images.

    Args:
        judge: Of n images, no more than either run has samples.
        this: The run that is asked about.
        other: The one that it is compared with.
        same_latents: Whether `shown` of both are of the same latents.
        seed: Seeds the bootstrap.
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
        same_latents=same_latents,
        this_picture=tiles(this.shown[:NUM_SHOWN], COLUMNS),
        other_picture=tiles(other.shown[:NUM_SHOWN], COLUMNS),
        differences=differences,
        average_differences=average_differences,
        n=judge.n,
        extractor=judge.extractor.name,
    )


def _summary(differences: Sequence[Difference]) -> str:
    better = [row.title for row in differences if row.verdict == "better"]
    worse = [row.title for row in differences if row.verdict == "worse"]
    undefined = [row.title for row in differences if row.verdict == "not defined"]
    note = f" (not defined: {', '.join(undefined)})" if undefined else ""
    if not better and not worse:
        return f"show no difference beyond noise{note}"
    counts = (("better", better), ("worse", worse))
    said = " and ".join(
        f"are {word} by {len(names)} of {len(differences)} metrics ({', '.join(names)})"
        for word, names in counts
        if names
    )
    return said + note
