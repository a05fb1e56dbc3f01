"""Compare two runs: images of the same latents, and the difference in every metric with its interval."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from gan.data.samples import load_samples
from gan.judging.bootstrap import Difference, bootstrap_differences
from gan.judging.judge import Judge
from gan.models.generation import class_counts, generate_pixels, labels_of
from gan.models.latents import sample_inputs
from gan.models.networks import load_model
from gan.report.rendering import tiles_png
from gan.runs.changes import MAX_COMMITS, ConditionChange, changes, commits_between, published_conditions
from gan.runs.manifest import AVERAGE_GENERATOR, AVERAGE_SAMPLES, DATA_SUMMARY, SAMPLES

NUM_SHOWN, COLUMNS = 32, 8


@dataclass(frozen=True)
class ContestantFiles:
    """The files of a run that a comparison needs."""

    name: str
    average: Path  # .keras, the averaged weights
    samples: Path
    average_samples: Path
    data_summary: Path
    conditions: Mapping[str, str] = field(default_factory=dict)  # settings, code, versions and device, by name

    @classmethod
    def of_published(cls, run: Path) -> "ContestantFiles":
        """Return the files of a published run."""
        samples, average_samples = run / SAMPLES, run / AVERAGE_SAMPLES
        conditions = published_conditions(run)
        return cls(
            run.resolve().name, run / AVERAGE_GENERATOR, samples, average_samples, run / DATA_SUMMARY, conditions
        )


@dataclass(frozen=True)
class Contestant:
    """One of the two runs of a comparison."""

    name: str
    shown: np.ndarray  # uint8 (k, 28, 28): images of the same latents as the other run's if the input shapes are equal
    input_shapes: list[tuple[int | None, ...]]  # of the generator: latents, and classes if it is conditional
    samples: np.ndarray  # uint8 (n, 28, 28)
    average_samples: np.ndarray  # uint8 (n, 28, 28)
    conditions: Mapping[str, str]  # settings, code, versions and device, by name


def load_contestant(files: ContestantFiles, *, seed: int) -> Contestant:
    """Load a run, and draw the images that a comparison shows; `seed` is the seed of their latents."""
    samples, average_samples = load_samples(files.samples), load_samples(files.average_samples)
    shown, shapes = draw_shown(files.average, files.data_summary, seed=seed)
    return Contestant(files.name, shown, shapes, samples, average_samples, files.conditions)


def draw_shown(generator: Path, data_summary: Path, *, seed: int) -> tuple[np.ndarray, list[tuple[int | None, ...]]]:
    """Draw the images that a comparison shows of a run, uint8 (k, 28, 28); also return the generator's input shapes.

    Classes are as frequent as in the run's training images.
    """
    model = load_model(generator)
    like_labels = labels_of(class_counts(data_summary, model))
    shown = generate_pixels(model, sample_inputs(model, NUM_SHOWN, seed=seed, like_labels=like_labels))
    return shown, [tensor.shape for tensor in model.inputs]


@dataclass(frozen=True)
class RunComparison:
    """The comparison of two runs, for the averaged and the last weights."""

    NOTE: ClassVar[str] = (
        "The intervals cover the randomness of drawing images. Those of all metrics of a table are meant to hold "
        "together at 95 %. An interval that contains zero shows no difference, which does not prove that there is "
        "none. The intervals are about these two trainings: another seed of the same recipe may differ by more. Rows "
        'with "distance from real" compare how far the values are from that of real images, rows with "above real" '
        'only the excess over it. In rows with "up to real", values above that of real images count as equal to it. '
        "Differences of percentages are percentage points."
    )

    MAX_COMMITS: ClassVar[int] = MAX_COMMITS

    this_name: str
    other_name: str
    same_latents: bool
    this_picture: bytes  # PNG
    other_picture: bytes
    differences: tuple[Difference, ...]
    average_differences: tuple[Difference, ...]
    n: int
    extractor: str
    changes: Sequence[ConditionChange]  # what differs in how the runs were made; "before" is the other run
    commits: Sequence[str]  # from the other run's code to this run's, the newest first

    @property
    def verdict(self) -> str:
        """One sentence that names the metrics which are better or worse beyond noise."""
        return (
            f"Against {self.other_name}: the averaged weights {_summarize(self.average_differences)}; "
            f"the last weights {_summarize(self.differences)}."
        )


def compare_runs(judge: Judge, this: Contestant, other: Contestant, *, seed: int) -> RunComparison:
    """Judge two runs against the same test images.

    Args:
        judge: A judge of n images; both runs have at least n samples.
        this: The run under test.
        other: The reference.
        seed: Seed of the bootstrap.
    """
    extractor = judge.extractor.name
    differences, average_differences = (
        bootstrap_differences(judge.examine(mine), judge.examine(theirs), judge.floor, extractor=extractor, seed=seed)
        for mine, theirs in ((this.samples, other.samples), (this.average_samples, other.average_samples))
    )
    return RunComparison(
        this_name=this.name,
        other_name=other.name,
        same_latents=this.input_shapes == other.input_shapes,
        this_picture=tiles_png(this.shown, COLUMNS),
        other_picture=tiles_png(other.shown, COLUMNS),
        differences=differences,
        average_differences=average_differences,
        n=judge.n,
        extractor=extractor,
        changes=changes(other.conditions, this.conditions),
        commits=commits_between(other.conditions.get("commit", ""), this.conditions.get("commit", "")),
    )


def _summarize(differences: tuple[Difference, ...]) -> str:
    titles = defaultdict(list)
    for row in differences:
        titles[row.verdict].append(row.title)
    counts = [
        f"are {verdict} on {len(titles[verdict])} of {len(differences)} metrics ({', '.join(titles[verdict])})"
        for verdict in ("better", "worse")
        if titles[verdict]
    ]
    undefined = f" (not defined: {', '.join(titles['not defined'])})" if titles["not defined"] else ""
    return (" and ".join(counts) or "show no difference beyond noise") + undefined
