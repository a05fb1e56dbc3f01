"""How long judging takes, metric by metric, and its memory: python -m bench.judging (make bench-judging)."""

import itertools
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, TypeVar

import numpy as np
from cyclopts import App, Parameter
from cyclopts.types import ExistingFile
from cyclopts.validators import Number
from rich import box
from rich.console import Console
from rich.table import Table

from gan.command import run_command
from gan.data.catalog import FASHION_MNIST
from gan.data.sources import fetch_splits
from gan.judging.definitions import METRICS
from gan.judging.features import SHIPPED_SHA256, Extractor, half_resolution, shipped_weights
from gan.judging.judge import Judge
from gan.judging.metrics.classes import class_entropy, confidence
from gan.judging.metrics.frechet import frechet_distance
from gan.judging.metrics.kernel import kernel_terms
from gan.judging.metrics.memorization import relative_to_test
from gan.judging.metrics.neighbours import (
    K_DENSITY_COVERAGE,
    K_PRECISION_RECALL,
    ball_radii,
    density_coverage,
    nearest,
    precision_recall,
)
from gan.judging.metrics.pixels import intensity_distance, intensity_histograms, total_variation
from gan.judging.metrics.two_sample import held_out_logits
from gan.storage.files import sha256_of

NOISE = 20
"""Standard deviation, in grey levels, of what is added to training images to have images to judge."""

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """What is done for one or several metrics, given features."""

    metrics: tuple[str, ...]  # names in METRICS
    run: Callable[[], object]


@dataclass(frozen=True)
class Measured:
    """What a judgement costs."""

    num_images: int
    report_seconds: float  # two sets and the floor, all metrics of each
    shared_seconds: float  # once a test split
    features_seconds: float
    part_seconds: dict[tuple[str, ...], float]  # by names of metrics
    total_seconds: float  # a whole judgement of one set; medians do not add up exactly
    peak_bytes: int  # of the process, from its start until all numbers of a report were there


def noisy(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images to judge, neither real nor absurd.

    Args:
        pixels: uint8, shape (n, 28, 28).
        rng: Draws the noise.

    Returns:
        uint8, shape (n, 28, 28).
    """
    noise = rng.normal(0, NOISE, pixels.shape)
    images: np.ndarray = np.rint(pixels + noise).clip(0, 255).astype(np.uint8)
    return images


def parts(judge: Judge, train_pixels: np.ndarray, fake_pixels: np.ndarray) -> tuple[Part, ...]:
    """The computation of all METRICS, in parts that can be timed one by one.

    Args:
        judge: Of the test split that the images are compared with.
        train_pixels: uint8, shape (k, 28, 28), that the judge was made with.
        fake_pixels: uint8, shape (judge.n, 28, 28).
    """
    test, found = judge.test, judge.extractor.features(fake_pixels)
    real, fake = test.values, found.values
    radii_3, radii_5 = ball_radii(real, K_PRECISION_RECALL), ball_radii(real, K_DENSITY_COVERAGE)
    train_half = half_resolution(train_pixels)
    _, test_distances = nearest(half_resolution(judge.test_pixels), train_half)  # of the judge's images, not of all

    def memorization() -> None:
        _, distances = nearest(half_resolution(fake_pixels), train_half)
        relative_to_test(distances, found.classes, test_distances, test.classes)

    def intensity() -> None:
        intensity_distance(judge.test_intensities.mean(axis=0), intensity_histograms(fake_pixels).mean(axis=0))

    return (
        Part(("frechet_distance",), lambda: frechet_distance(real, fake)),
        Part(("kernel_distance",), lambda: kernel_terms(real, fake)),
        Part(
            ("precision", "recall"), lambda: precision_recall(real, fake, radii_3, ball_radii(fake, K_PRECISION_RECALL))
        ),
        Part(("density", "coverage"), lambda: density_coverage(real, fake, radii_5)),
        Part(("two_sample_accuracy",), lambda: held_out_logits(real, fake, np.random.default_rng(0))),
        Part(("class_entropy",), lambda: class_entropy(found.classes, judge.num_classes)),
        Part(("confidence",), lambda: confidence(found.probabilities)),
        Part(("nearest_training_image", "near_copies"), memorization),
        Part(("total_variation",), lambda: total_variation(fake_pixels)),
        Part(("intensity_distance",), intensity),
    )


def measure(
    extractor: Extractor, train_pixels: np.ndarray, test_pixels: np.ndarray, *, num_images: int, rounds: int
) -> Measured:
    """Judge a set of images several times, as a whole and part by part; times are medians over the rounds.

    Args:
        extractor: Whose features count.
        train_pixels: uint8, shape (k, 28, 28), k >= num_images.
        test_pixels: uint8, shape (m, 28, 28), m >= num_images.
        num_images: Images on each side.
        rounds: Repetitions of everything but what is done once.
    """
    rng = np.random.default_rng(0)
    fake_pixels = noisy(train_pixels[rng.choice(len(train_pixels), num_images, replace=False)], rng)
    shared, judge = _seconds(lambda: Judge(extractor, train_pixels, test_pixels, n=num_images, seed=0))

    sets = (np.roll(fake_pixels, shift, axis=0) for shift in itertools.count(1))  # what a judge knows costs nothing

    def whole() -> None:
        evidence = judge.examine(next(sets))
        for definition in METRICS:
            definition.measure(evidence)

    def numbers_of_a_report() -> None:
        judge.metrics(judge.examine(fake_pixels[::-1]), judge.examine(noisy(fake_pixels, rng)))

    report = _seconds(numbers_of_a_report)[0]
    peak = peak_bytes()
    return Measured(
        num_images=num_images,
        shared_seconds=shared,
        features_seconds=_median_seconds(lambda: extractor.features(fake_pixels), rounds),
        part_seconds={
            part.metrics: _median_seconds(part.run, rounds) for part in parts(judge, train_pixels, fake_pixels)
        },
        total_seconds=_median_seconds(whole, rounds),
        report_seconds=report,
        peak_bytes=peak,
    )


def peak_bytes() -> int:
    """The most memory that this process has held so far, in bytes (Linux)."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def show(measured: Measured) -> None:
    """The figures as a table."""
    titles = {definition.name: definition.title for definition in METRICS}
    table = Table(f"Judging {measured.num_images:,} images against as many", box=box.SIMPLE_HEAD)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_row("Features of the images", f"{measured.features_seconds:.2f}")
    for names, seconds in measured.part_seconds.items():
        table.add_row(", ".join(titles[name] for name in names), f"{seconds:.2f}")
    table.add_section()
    table.add_row("A whole judgement", f"{measured.total_seconds:.2f}")
    table.add_row("Two sets and their floor, as for a report", f"{measured.report_seconds:.2f}")
    table.add_row("Before the first: what all judgements share", f"{measured.shared_seconds:.2f}")
    output = Console(highlight=False)
    output.print(table)
    output.print(f"peak memory, libraries and data set included: {measured.peak_bytes / 1e9:.2f} GB")


app = App(name="python -m bench.judging", help="Measure how long judging takes, and its memory.", version_flags=())


@app.default
def main(
    *,
    num_images: Annotated[int, Parameter(validator=Number(gte=100, lte=10_000))] = 10_000,
    rounds: Annotated[int, Parameter(validator=Number(gte=1))] = 3,
    weights: ExistingFile | None = None,
    data_dir: Path | None = None,
) -> None:
    """Measure how long judging takes, and its memory.

    Parameters
    ----------
    num_images
        Images on each side.
    rounds
        Repetitions; the table has medians.
    weights
        A .keras file of gan.classifier; else the one that is part of the code.
    data_dir
        Folder with the four files of Fashion-MNIST; else an earlier download, the mirrors, Debian's package.
    """
    from gan.models.backend import use_device

    use_device("auto")
    dataset = FASHION_MNIST.name
    path, sha256 = (weights, sha256_of(weights)) if weights else (shipped_weights(dataset), SHIPPED_SHA256[dataset])
    extractor = Extractor.load(path, dataset, sha256)
    (train_pixels, _), (test_pixels, _) = fetch_splits(FASHION_MNIST, data_dir=data_dir)
    show(measure(extractor, train_pixels, test_pixels, num_images=num_images, rounds=rounds))


def _seconds(run: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    result = run()
    return time.perf_counter() - started, result


def _median_seconds(run: Callable[[], object], rounds: int) -> float:
    return median(_seconds(run)[0] for _ in range(rounds))


if __name__ == "__main__":
    run_command(app)
