"""The two runs of a comparison, with images of the same latents."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gan.data.samples import load_samples
from gan.models.generation import class_counts, generate_pixels, labels_of
from gan.models.latents import sample_inputs
from gan.models.networks import load_model
from gan.report.comparison import NUM_SHOWN, Contestant
from gan.runs.manifest import AVERAGE_SAMPLES, DATA_SUMMARY, GENERATOR, SAMPLES


@dataclass(frozen=True)
class ContestantFiles:
    """Where a run's part in a comparison lies."""

    name: str
    generator: Path
    samples: Path
    average_samples: Path
    data_summary: Path


def contestant_files(run: Path) -> ContestantFiles:
    """Those of a published run."""
    return ContestantFiles(
        run.resolve().name, run / GENERATOR, run / SAMPLES, run / AVERAGE_SAMPLES, run / DATA_SUMMARY
    )


def contestants(this: ContestantFiles, other: ContestantFiles, *, seed: int) -> tuple[Contestant, Contestant, bool]:
    """Two runs with images of the same latents (and classes, as in their training images), if both take such.

    Args:
        this: The run that is asked about.
        other: The one that it is compared with.
        seed: Seeds the latents.

    Returns:
        Both, and whether the latents are the same.
    """
    shapes, found = [], []
    for files in (this, other):
        shown, inputs = draw_shown(files.generator, files.data_summary, seed=seed)
        shapes.append(inputs)
        found.append(Contestant(files.name, shown, load_samples(files.samples), load_samples(files.average_samples)))
    return found[0], found[1], shapes[0] == shapes[1]


def draw_shown(generator: Path, data_summary: Path, *, seed: int) -> tuple[np.ndarray, list[tuple[int | None, ...]]]:
    """Return the images that a comparison shows, uint8 (NUM_SHOWN, 28, 28), and the generator's input shapes."""
    model = load_model(generator)
    like_labels = labels_of(class_counts(data_summary, model))
    inputs = sample_inputs(model, NUM_SHOWN, seed=seed, like_labels=like_labels)
    return generate_pixels(model, inputs), [tensor.shape for tensor in model.inputs]
