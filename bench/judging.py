"""Measure the time and memory that judging takes, by metric: python -m bench.judging (make bench-judging)."""

import itertools
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, TypeVar

import numpy as np
from cyclopts import Parameter
from cyclopts.types import ExistingFile
from cyclopts.validators import Number
from rich import box
from rich.table import Table

from gan.command import new_app, print_table, run_command, terminal
from gan.data.catalog import FASHION_MNIST
from gan.data.sources import fetch_splits
from gan.judging.definitions import METRICS
from gan.judging.features import SHIPPED_SHA256, Extractor, shipped_weights
from gan.judging.judge import Judge
from gan.judging.metrics.classes import class_entropy
from gan.judging.metrics.frechet import frechet_distance
from gan.judging.metrics.kernel import kernel_terms
from gan.judging.metrics.memorization import relative_to_test
from gan.judging.metrics.neighbours import (
    K_DENSITY_COVERAGE,
    K_PRECISION_RECALL,
    ball_radii,
    density_coverage,
    precision_recall,
)
from gan.judging.metrics.pixels import intensity_distance, intensity_histograms, total_variation
from gan.judging.metrics.similar_images import ImageIndex, nearest_others
from gan.judging.metrics.two_sample import held_out_logits
from gan.storage.files import sha256_of

NOISE = 20
"""Standard deviation, in grey levels, of the noise that turns training images into images to judge."""

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """The computation of one or several metrics, given features."""

    metrics: tuple[str, ...]  # names in METRICS
    run: Callable[[], object]


@dataclass(frozen=True)
class Measured:
    """Time and memory of a judgement."""

    num_images: int
    report_seconds: float  # all metrics of two sets and of the floor
    shared_seconds: float  # the work that is done once for a test split
    features_seconds: float
    part_seconds: dict[tuple[str, ...], float]  # keys: names of the metrics
    total_seconds: float  # a complete judgement of one set; not the exact sum of the parts, which are medians
    peak_bytes: int  # of the process, from its start to the metrics of a report


def noisy(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise to pixels, uint8 (n, 28, 28)."""
    noise = rng.normal(0, NOISE, pixels.shape)
    images: np.ndarray = np.rint(pixels + noise).clip(0, 255).astype(np.uint8)
    return images


def parts(judge: Judge, train_pixels: np.ndarray, fake_pixels: np.ndarray) -> tuple[Part, ...]:
    """Return the computations of all METRICS as parts that can be timed separately.

    Args:
        judge: Judge of the test split.
        train_pixels: uint8, shape (k, 28, 28), the training split of the judge.
        fake_pixels: uint8, shape (judge.n, 28, 28), images to judge.
    """
    test, found = judge.test, judge.extractor.features(fake_pixels)
    real, fake = test.values, found.values
    radii_3, radii_5 = ball_radii(real, K_PRECISION_RECALL), ball_radii(real, K_DENSITY_COVERAGE)
    index = ImageIndex(train_pixels)
    _, test_distances = index.nearest(judge.test_pixels)

    def memorization() -> None:
        _, distances = index.nearest(fake_pixels)
        relative_to_test(distances, found.classes, test_distances, test.classes)

    def intensity() -> None:
        intensity_distance(judge.test_intensities, intensity_histograms(fake_pixels))

    return (
        Part(("frechet_distance",), lambda: frechet_distance(real, fake)),
        Part(("kernel_distance",), lambda: kernel_terms(real, fake)),
        Part(
            ("precision", "recall"), lambda: precision_recall(real, fake, radii_3, ball_radii(fake, K_PRECISION_RECALL))
        ),
        Part(("density", "coverage"), lambda: density_coverage(real, fake, radii_5)),
        Part(("two_sample_accuracy",), lambda: held_out_logits(real, fake, np.random.default_rng(0))),
        Part(("class_entropy",), lambda: class_entropy(found.classes, judge.num_classes)),
        Part(("confidence",), lambda: found.confidence),
        Part(("nearest_training_image", "near_copies"), memorization),
        Part(("near_duplicates",), lambda: nearest_others(fake_pixels)),
        Part(("total_variation",), lambda: total_variation(fake_pixels)),
        Part(("intensity_distance",), intensity),
    )


def measure(
    extractor: Extractor, train_pixels: np.ndarray, test_pixels: np.ndarray, *, num_images: int, rounds: int
) -> Measured:
    """Measure a judgement as a whole and by parts; times are medians over rounds.

    Args:
        extractor: The network whose features are compared.
        train_pixels: uint8, shape (k, 28, 28), k >= num_images.
        test_pixels: uint8, shape (m, 28, 28), m >= num_images.
        num_images: Images on each side.
        rounds: Repetitions of everything that is not done once only.
    """
    rng = np.random.default_rng(0)
    fake_pixels = noisy(train_pixels[rng.choice(len(train_pixels), num_images, replace=False)], rng)
    shared, judge = _seconds(lambda: Judge(extractor, train_pixels, test_pixels, n=num_images, seed=0))

    sets = (
        np.roll(fake_pixels, shift, axis=0) for shift in itertools.count(1)
    )  # new images, since a judge caches results

    def judge_all() -> None:
        statistics = judge.examine(next(sets))
        for definition in METRICS:
            definition.measure(statistics)

    def compute_report_metrics() -> None:
        judge.metrics(judge.examine(fake_pixels[::-1]), judge.examine(noisy(fake_pixels, rng)))

    report = _seconds(compute_report_metrics)[0]
    peak = peak_bytes()
    return Measured(
        num_images=num_images,
        shared_seconds=shared,
        features_seconds=_median_seconds(lambda: extractor.features(fake_pixels), rounds),
        part_seconds={
            part.metrics: _median_seconds(part.run, rounds) for part in parts(judge, train_pixels, fake_pixels)
        },
        total_seconds=_median_seconds(judge_all, rounds),
        report_seconds=report,
        peak_bytes=peak,
    )


def peak_bytes() -> int:
    """Return the peak resident memory of this process so far, in bytes (Linux)."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def show(measured: Measured) -> None:
    """Print the measurements as a table."""
    titles = {definition.name: definition.title for definition in METRICS}
    table = Table(f"Judging {measured.num_images:,} images against as many", box=box.SIMPLE_HEAD)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_row("Features of the images", f"{measured.features_seconds:.2f}")
    for names, seconds in measured.part_seconds.items():
        table.add_row(", ".join(titles[name] for name in names), f"{seconds:.2f}")
    table.add_section()
    table.add_row("Complete judgement of one set", f"{measured.total_seconds:.2f}")
    table.add_row("Two sets and the floor, as for a report", f"{measured.report_seconds:.2f}")
    table.add_row("Preparation that all judgements share", f"{measured.shared_seconds:.2f}")
    output = terminal()
    print_table(output, table)
    output.print(f"peak memory, libraries and data set included: {measured.peak_bytes / 1e9:.2f} GB")


app = new_app("bench.judging", "Measure the time and memory that judging takes.")


@app.default
def main(
    *,
    num_images: Annotated[int, Parameter(validator=Number(gte=100, lte=10_000))] = 10_000,
    rounds: Annotated[int, Parameter(validator=Number(gte=1))] = 3,
    weights: ExistingFile | None = None,
    data_dir: Path | None = None,
) -> None:
    """Measure the time and memory that judging takes.

    Args:
        num_images: Images on each side.
        rounds: Repetitions; the table shows medians.
        weights: A .keras file written by gan.classifier; empty: the weights that are part of the code.
        data_dir: Folder with the four files of Fashion-MNIST; empty: an earlier download, a mirror, or Debian's
            package.
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
