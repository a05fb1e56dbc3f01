"""Measure whether a conditional generator follows its class labels (make asked-classes ARGS=artifacts/latest).

Two classifiers are fitted: one on real training images, one on generated images with the classes of their input.

    asked class           accuracy of the classifier of real images on generated images
    accuracy score        accuracy of the classifier of generated images on real test images: classification accuracy
                          score, Ravuri and Vinyals 2019, arXiv:1905.10887
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number
from rich import box
from rich.table import Table

from gan.command import new_app, print_table, run_command, terminal
from gan.config import SEED_LIMIT
from gan.data.catalog import FASHION_MNIST
from gan.data.pixels import normalize_images
from gan.data.sources import fetch_splits
from gan.errors import SettingsError
from gan.formatting import describe_deviation, describe_share
from gan.generate import load_generator
from gan.judging.classifier import accuracy, fit_classifier
from gan.models.backend import keras, use_device
from gan.models.generation import generate_pixels
from gan.models.latents import sample_inputs

log = logging.getLogger(__name__)

app = new_app("bench.asked_classes", "Measure whether generators follow class labels.")


@dataclass(frozen=True)
class Found:
    """Accuracies, 0 to 1, for one generator."""

    asked: float  # of the classifier of real images, on generated images
    score: float  # of the classifier of generated images, on test images


Split = tuple[np.ndarray, np.ndarray]
"""Images, uint8 (n, 28, 28), and their labels, int (n,)."""


def fit_to_real(train: Split, test: Split, *, seed: int) -> tuple[keras.Model, float]:
    """Fit a classifier to real images and return it with its accuracy on test images."""
    (pixels, labels), (test_pixels, test_labels) = train, test
    classifier = fit_classifier(normalize_images(pixels), labels, int(labels.max()) + 1, seed=seed)
    return classifier, accuracy(classifier, normalize_images(test_pixels), test_labels)


def measure(generator: keras.Model, of_real: keras.Model, train: Split, test: Split, *, seed: int) -> Found:
    """Generate as many images of each class as the training split has, and fit a classifier to them.

    Args:
        generator: A generator with a class input.
        of_real: The classifier of real images.
        train: The training split, on which of_real was fitted.
        test: The test split.
        seed: Seeds latents and the new classifier.
    """
    (pixels, labels), (test_pixels, test_labels) = train, test
    inputs = sample_inputs(generator, len(pixels), seed=seed, like_labels=labels)
    fakes, asked = normalize_images(generate_pixels(generator, inputs)), np.asarray(inputs.labels)
    of_fakes = fit_classifier(fakes, asked, generator.inputs[1].shape[-1], seed=seed)
    return Found(accuracy(of_real, fakes, asked), accuracy(of_fakes, normalize_images(test_pixels), test_labels))


@app.default
def main(
    *runs: Path,
    seed: Annotated[int, Parameter(validator=Number(gte=0, lt=SEED_LIMIT))] = 1,
    data_dir: Path | None = None,
) -> None:
    """Measure whether averaged generators of published runs follow their class labels.

    Args:
        runs: Folders of published runs of a conditional recipe, trained on Fashion-MNIST.
        seed: Seeds latents and classifiers; use another seed than that of the judge.
        data_dir: Folder with the four files of Fashion-MNIST; empty: an earlier download, a mirror, or Debian's
            package.
    """
    if not runs:
        raise SettingsError("No run was given.\nGive folders of published runs, such as artifacts/latest.")
    use_device("auto")
    generators = [_load(run) for run in runs]
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train, test = fetch_splits(FASHION_MNIST, data_dir=data_dir)
    of_real, right = fit_to_real(train, test, seed=seed)
    table = Table("Classifier fitted on", box=box.SIMPLE)
    table.add_column("right on test images", justify="right")
    table.add_column("generated images assigned to the requested class", justify="right")
    table.add_row("real images", describe_share(right), "")
    found = []
    for run, generator in zip(runs, generators, strict=True):
        found.append(measure(generator, of_real, train, test, seed=seed))
        cells = describe_share(found[-1].score), describe_share(found[-1].asked)
        log.info("%s: %s right on test images, %s assigned to the requested class", run.name, *cells)
        table.add_row(run.name, *cells)
    if len(found) > 1:
        table.add_row("mean", *(_spread([getattr(one, name) for one in found]) for name in ("score", "asked")))
    console = terminal()
    print_table(console, table)
    console.print(f"{len(train[0]):,} images of each generator (averaged weights), seed {seed}")


def _load(run: Path) -> keras.Model:
    """Load the averaged generator of a run.

    Raises:
        SettingsError: If there is none, or it does not take the classes of Fashion-MNIST.
    """
    generator, num_classes = load_generator(run, average=True), len(FASHION_MNIST.class_names)
    if [tuple(tensor.shape) for tensor in generator.inputs[1:]] != [(None, num_classes)]:
        raise SettingsError(
            f"The generator of {run} does not take the {num_classes} classes of {FASHION_MNIST.title}.\n"
            "Give a run of the recipe conditional."
        )
    return generator


def _spread(shares: list[float]) -> str:
    return f"{describe_share(fmean(shares))} {describe_deviation(100 * stdev(shares))}"


if __name__ == "__main__":
    run_command(app)
