"""Whether a generator that takes classes gives what it is asked for (make asked-classes ARGS=artifacts/latest).

Two classifiers are fitted, one on real training images, one on generated images with the classes that were asked for.

    asked class           how often the classifier of real images takes a generated one for the class asked for
    accuracy score        how often the classifier of generated images is right on real test images: classification
                          accuracy score, Ravuri and Vinyals 2019, arXiv:1905.10887
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated

import numpy as np
from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gan.command import run_command
from gan.data.catalog import FASHION_MNIST
from gan.data.pixels import normalize_images
from gan.data.sources import fetch_splits
from gan.errors import SettingsError
from gan.formatting import describe_deviation, describe_share
from gan.generate import load_generator
from gan.judging.classifier import accuracy, fit_classifier
from gan.models.backend import keras
from gan.models.generation import generate_pixels
from gan.models.latents import sample_inputs

log = logging.getLogger(__name__)

app = App(name="python -m bench.asked_classes", help="Does a class that is asked for come?", version_flags=())


@dataclass(frozen=True)
class Found:
    """Shares, 0 to 1, of one generator."""

    asked: float  # of generated images that the classifier of real images takes for the class asked for
    score: float  # of test images for which the classifier of generated images is right


Split = tuple[np.ndarray, np.ndarray]
"""Images, uint8 (n, 28, 28), and their labels, int (n,)."""


def fit_to_real(train: Split, test: Split, *, seed: int) -> tuple[keras.Model, float]:
    """The classifier of real images, and the share of test images for which it is right."""
    (pixels, labels), (test_pixels, test_labels) = train, test
    classifier = fit_classifier(normalize_images(pixels), labels, int(labels.max()) + 1, seed=seed)
    return classifier, accuracy(classifier, normalize_images(test_pixels), test_labels)


def measure(generator: keras.Model, of_real: keras.Model, train: Split, test: Split, *, seed: int) -> Found:
    """Generate as many images as there are to train with, in the same shares, and fit a classifier to them.

    Args:
        generator: It takes classes.
        of_real: The classifier of real images.
        train: What it was fitted on.
        test: Images that none of them has seen.
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
    seed: Annotated[int, Parameter(validator=Number(gte=0, lt=2**31))] = 1,
    data_dir: Path | None = None,
) -> None:
    """Ask published runs' averaged generators for as many images of each class as they were trained on.

    Parameters
    ----------
    runs
        Folders of published runs of a recipe with classes, trained on Fashion-MNIST.
    seed
        Seeds latents and classifiers: others than those of the judge.
    data_dir
        Folder with the four files of Fashion-MNIST; else an earlier download, the mirrors, Debian's package.
    """
    if not runs:
        raise SettingsError("No run was given.\nGive folders of published runs, such as artifacts/latest.")
    generators = [_load(run) for run in runs]
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train, test = fetch_splits(FASHION_MNIST, data_dir=data_dir)
    of_real, right = fit_to_real(train, test, seed=seed)
    table = Table("Classifier fitted on", box=box.SIMPLE)
    table.add_column("right on test images", justify="right")
    table.add_column("generated taken for the class asked for", justify="right")
    table.add_row("real images", describe_share(right), "")
    found = []
    for run, generator in zip(runs, generators, strict=True):
        found.append(measure(generator, of_real, train, test, seed=seed))
        cells = describe_share(found[-1].score), describe_share(found[-1].asked)
        log.info("%s: %s right on test images, %s taken for the class asked for", run.name, *cells)
        table.add_row(escape(run.name), *cells)
    if len(found) > 1:
        table.add_row("mean", *(_spread([getattr(one, name) for one in found]) for name in ("score", "asked")))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{len(train[0]):,} images of each generator (averaged weights), seed {seed}", markup=False)


def _load(run: Path) -> keras.Model:
    """The averaged generator of a run.

    Raises:
        SettingsError: If there is none, or it takes no classes, or others.
    """
    generator, num_classes = load_generator(run, average=True), len(FASHION_MNIST.class_names)
    if [tuple(tensor.shape) for tensor in generator.inputs[1:]] != [(None, num_classes)]:
        raise SettingsError(
            f"The generator of {run} cannot be asked for the {num_classes} classes of {FASHION_MNIST.title}.\n"
            "Give a run of the recipe conditional."
        )
    return generator


def _spread(shares: list[float]) -> str:
    return f"{describe_share(fmean(shares))} {describe_deviation(100 * stdev(shares))}"


if __name__ == "__main__":
    run_command(app)
