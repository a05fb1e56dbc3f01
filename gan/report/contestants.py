"""Load a run of a comparison, and draw images from fixed latents."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gan.data.samples import load_samples
from gan.models.generation import class_counts, generate_pixels, labels_of
from gan.models.latents import sample_inputs
from gan.models.networks import load_model
from gan.report.comparison import NUM_SHOWN, Contestant, InputShapes
from gan.runs.manifest import AVERAGE_SAMPLES, DATA_SUMMARY, GENERATOR, SAMPLES


@dataclass(frozen=True)
class ContestantFiles:
    """The files of a run that a comparison needs."""

    name: str
    generator: Path
    samples: Path
    average_samples: Path
    data_summary: Path


def contestant_files(run: Path) -> ContestantFiles:
    """Return the files of a published run."""
    return ContestantFiles(
        run.resolve().name, run / GENERATOR, run / SAMPLES, run / AVERAGE_SAMPLES, run / DATA_SUMMARY
    )


def load_contestant(files: ContestantFiles, *, seed: int) -> Contestant:
    """Load a run, and draw the images that a comparison shows; `seed` is the seed of their latents."""
    shown, input_shapes = draw_shown(files.generator, files.data_summary, seed=seed)
    return Contestant(files.name, shown, input_shapes, load_samples(files.samples), load_samples(files.average_samples))


def draw_shown(generator: Path, data_summary: Path, *, seed: int) -> tuple[np.ndarray, InputShapes]:
    """Return the images that a comparison shows, uint8 (NUM_SHOWN, 28, 28), and the generator's input shapes.

    Classes are as frequent as in the training images.
    """
    model = load_model(generator)
    like_labels = labels_of(class_counts(data_summary, model))
    inputs = sample_inputs(model, NUM_SHOWN, seed=seed, like_labels=like_labels)
    return generate_pixels(model, inputs), [tensor.shape for tensor in model.inputs]
