"""Whether a generator that takes classes gives what it is asked for (make asked-classes ARGS=artifacts/latest).

Two classifiers are fitted, one on real training images, one on generated images with the classes that were asked for.

    asked class           how often the classifier of real images takes a generated one for the class asked for
    accuracy score        how often the classifier of generated images is right on real test images: classification
                          accuracy score, Ravuri and Vinyals 2019, arXiv:1905.10887
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich import box
from rich.console import Console
from rich.table import Table

from gan.backend import keras
from gan.classifier import accuracy, fit_classifier
from gan.command import run_command
from gan.datasets.catalog import FASHION_MNIST
from gan.datasets.pixels import normalize_images
from gan.datasets.splits import fetch_splits
from gan.errors import SettingsError
from gan.generate import generate_pixels
from gan.networks import load_model
from gan.published import AVERAGE_GENERATOR
from gan.report.words import describe_share
from gan.sampling import sample_inputs

app = App(name="python -m bench.asked_classes", help="Does a class that is asked for come?", version_flags=())


@dataclass(frozen=True)
class Found:
    """Shares, 0 to 1."""

    asked: float  # of generated images that the classifier of real images takes for the class asked for
    real: float  # of test images for which the classifier of real images is right
    generated: float  # the same of the classifier of generated images: the classification accuracy score
    num_images: int


def measure(
    generator: keras.Model, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], *, seed: int
) -> Found:
    """Fit both classifiers and ask them.

    Args:
        generator: It takes classes.
        train: Images, uint8 (n, 28, 28), and labels, int (n,); as many images are generated, in the same shares.
        test: The same of the test split.
        seed: Seeds latents and classifiers.
    """
    (pixels, labels), (test_pixels, test_labels) = train, test
    num_classes, test_images = generator.inputs[1].shape[-1], normalize_images(test_pixels)
    inputs = sample_inputs(generator, len(pixels), seed=seed, like_labels=labels)
    fakes, asked = normalize_images(generate_pixels(generator, inputs)), np.asarray(inputs.labels)
    of_real = fit_classifier(normalize_images(pixels), labels, num_classes, seed=seed)
    of_fakes = fit_classifier(fakes, asked, num_classes, seed=seed)
    return Found(
        asked=accuracy(of_real, fakes, asked),
        real=accuracy(of_real, test_images, test_labels),
        generated=accuracy(of_fakes, test_images, test_labels),
        num_images=len(fakes),
    )


@app.default
def main(
    run: Path,
    *,
    seed: Annotated[int, Parameter(validator=Number(gte=0, lt=2**31))] = 1,
    data_dir: Path | None = None,
) -> None:
    """Ask a published run's averaged generator for as many images of each class as it was trained on.

    Parameters
    ----------
    run
        Folder of a published run of a recipe with classes, trained on Fashion-MNIST.
    seed
        Seeds latents and both classifiers: others than those of the judge.
    data_dir
        Folder with the four files of Fashion-MNIST; else an earlier download, the mirrors, Debian's package.
    """
    model = run / AVERAGE_GENERATOR
    if not model.is_file():
        raise SettingsError(
            f"{run} holds no {model.name}.\nGive the folder of a published run, such as artifacts/latest."
        )
    generator, num_classes = load_model(model), len(FASHION_MNIST.class_names)
    if [tuple(tensor.shape) for tensor in generator.inputs[1:]] != [(None, num_classes)]:
        raise SettingsError(
            f"The generator of {run} cannot be asked for the {num_classes} classes of {FASHION_MNIST.title}.\n"
            "Give a run of the recipe conditional."
        )
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train, test = fetch_splits(FASHION_MNIST, data_dir=data_dir)
    found = measure(generator, train, test, seed=seed)
    table = Table("Classifier fitted on", box=box.SIMPLE)
    table.add_column("right on test images", justify="right")
    table.add_column("takes generated for the class asked for", justify="right")
    table.add_row("real images", describe_share(found.real), describe_share(found.asked))
    table.add_row("generated images", describe_share(found.generated), "")
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{found.num_images:,} images of {run} (averaged weights), seed {seed}", markup=False)


if __name__ == "__main__":
    run_command(app)
