"""Judge published runs by features that nothing was tuned on: python -m bench.second_judge.

The recipes were chosen by the shipped extractor, and the shipped extractor was fitted on the whole training split. Here
another classifier, with other layers and another seed, is fitted on all training images but HELD_OUT of them. The runs
are compared with the test split by its features, beside the shipped ones. The held-out images are then offered to the
gate against each run: real images should win.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number
from rich import box
from rich.table import Table

from gan.command import new_app, print_table, run_command, terminal
from gan.data.catalog import FASHION_MNIST
from gan.data.pixels import normalize_images
from gan.data.samples import load_samples
from gan.data.sources import fetch_splits
from gan.judging.class_shares import count_classes
from gan.judging.classifier import accuracy, fit_classifier
from gan.judging.definitions import Metric, describe_metric
from gan.judging.features import Extractor
from gan.judging.gate import Incumbent, challenge_champion
from gan.judging.judge import Judge
from gan.models.backend import keras, use_device
from gan.runs.manifest import AVERAGE_SAMPLES, check_files, read_manifest
from gan.runs.publish import METRICS_FILE
from gan.storage.links import follow_text_link

HELD_OUT = 10_000
SEED = 1  # the shipped extractor has 0
MAPS = ((32, 5), (64, 5), (128, 3))  # maps and size of each convolution
COLUMNS = ("frechet_distance", "precision", "recall", "density", "coverage", "two_sample_accuracy")

app = new_app("bench.second_judge", "Judge runs by features that nothing was tuned on.")


@app.default
def main(
    runs: Annotated[list[Path], Parameter(consume_multiple=True)],
    *,
    num_images: Annotated[int, Parameter(validator=Number(gte=100, lte=HELD_OUT))] = HELD_OUT,
    epochs: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    data_dir: Path | None = None,
) -> None:
    """Judge published runs by two extractors, and offer real images to the gate against each of them.

    Args:
        runs: Folders of published runs on Fashion-MNIST.
        num_images: Images on each side.
        epochs: Epochs of fitting the second extractor; empty: 12.
        data_dir: Folder with the four files of Fashion-MNIST; empty: an earlier download, a mirror, or Debian's
            package.
    """
    runs = [follow_text_link(run) for run in runs]
    for run in runs:
        check_files(run, read_manifest(run), AVERAGE_SAMPLES)
    use_device("auto")
    (train, train_labels), (test, test_labels) = fetch_splits(FASHION_MNIST, data_dir=data_dir)
    challenger, train, train_labels = train[:HELD_OUT], train[HELD_OUT:], train_labels[HELD_OUT:]
    network = fit_classifier(normalize_images(train), train_labels, 10, seed=SEED, epochs=epochs, build=build_second)
    console = terminal()
    right = accuracy(network, normalize_images(test), test_labels)
    console.print(f"The second extractor is right for {100 * right:.1f} % of the test images.")
    for extractor in (
        Extractor.shipped(FASHION_MNIST.name),
        Extractor(network, f"second-cnn{network.outputs[0].shape[-1]}", ""),
    ):
        judge = Judge(extractor, train, test, n=num_images, seed=0)
        print_table(console, table_of(judge, runs, challenger[:num_images]))


def build_second(num_classes: int) -> keras.Model:
    """Build a classifier that shares neither layers nor features with the shipped one.

    Its features are the means of the last convolution's maps, standardized; there is no hidden layer and no texture.
    """
    maps = images = keras.Input((28, 28, 1), name="images")
    for width, size in MAPS:
        maps = keras.layers.Conv2D(width, size, padding="same", use_bias=False)(maps)
        maps = keras.layers.LeakyReLU(0.1)(keras.layers.BatchNormalization()(maps))
        maps = keras.layers.AveragePooling2D(2)(maps)
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    features = keras.layers.BatchNormalization(center=False, scale=False)(pooled)
    return keras.Model(images, [features, keras.layers.Dense(num_classes)(features)])


def table_of(judge: Judge, runs: Sequence[Path], challenger: np.ndarray) -> Table:
    """Judge each run's averaged weights; the row of real images is that of the challenger."""
    table = Table(f"Averaged weights, {judge.extractor.name} features, n = {judge.n:,}", box=box.SIMPLE_HEAD)
    real = _measured(judge, challenger)
    shares = count_classes(FASHION_MNIST.class_names, judge.test.classes, judge.examine(challenger).fake.classes)
    for metric in real:
        if metric.name in COLUMNS:
            table.add_column(metric.title, justify="right")
    table.add_column("Network on pixels", justify="right")
    table.add_column("Real images against it")
    for run in runs:
        metrics = _measured(judge, load_samples(run / AVERAGE_SAMPLES)[: judge.n])
        champion = Incumbent(run.name, run / AVERAGE_SAMPLES)
        decision = challenge_champion(judge, challenger, real, shares, (), champion, {}, seed=0)
        separation = json.loads((run / METRICS_FILE).read_text(encoding="utf-8")).get("separation") or {}
        verdict = "pass" if decision.passes else " ".join(decision.reasons)
        by_network = describe_metric("two_sample_accuracy", separation.get("accuracy"))
        table.add_row(run.name, *_cells(metrics), by_network, verdict)
    table.add_row("real images", *_cells(real), "", "")
    return table


def _measured(judge: Judge, pixels: np.ndarray) -> tuple[Metric, ...]:
    found = judge.examine(pixels)
    return judge.metrics(found, found)


def _cells(metrics: Sequence[Metric]) -> list[str]:
    return [describe_metric(metric.name, metric.average) for metric in metrics if metric.name in COLUMNS]


if __name__ == "__main__":
    run_command(app)
