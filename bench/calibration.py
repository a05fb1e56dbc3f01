"""Check the intervals of comparisons: python -m bench.calibration.

It counts false positives in comparisons of sets from equal distributions. With --other, the distributions differ, and
the claimed standard errors of the differences are compared with their actual spread over disjoint sets.
"""

from collections import Counter
from collections.abc import Iterator
from math import nan
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number
from rich import box
from rich.progress import track
from rich.table import Table

from gan.command import new_app, print_table, run_command, terminal
from gan.data.catalog import FASHION_MNIST
from gan.data.sources import fetch_splits
from gan.errors import SettingsError
from gan.formatting import describe_number
from gan.generate import load_generator
from gan.judging.bootstrap import NORMAL_QUANTILE, STUDENT_QUANTILE, bootstrap_differences
from gan.judging.definitions import METRICS
from gan.judging.features import Extractor
from gan.judging.judge import Judge
from gan.models.backend import keras, use_device
from gan.models.generation import generate_pixels
from gan.models.latents import sample_inputs

app = new_app("bench.calibration", "Check the intervals of comparisons.")


@app.default
def main(
    *,
    run: Path | None = None,
    other: Path | None = None,
    num_images: Annotated[int, Parameter(validator=Number(gte=100, lte=3000))] = 1000,
    num_comparisons: Annotated[int, Parameter(validator=Number(gte=1))] = 40,
    data_dir: Path | None = None,
) -> None:
    """Check the intervals of comparisons.

    Args:
        run: A published run, whose last weights give two sets from different latents; empty: two sets of real test
            images.
        other: Another published run. The averaged weights of each run then give one set, and the test images are
            disjoint sets.
        num_images: Images in each set.
        num_comparisons: Comparisons, each with different images; with --other as many as there are disjoint sets of
            test images.
        data_dir: Folder with the four files of Fashion-MNIST; empty: an earlier download, a mirror, or Debian's
            package.
    """
    if other is not None and run is None:
        raise SettingsError("--other is the second of two runs.\nGive the first one with --run.")
    use_device("auto")
    extractor = Extractor.shipped(FASHION_MNIST.name)
    (train_pixels, _), (test_pixels, _) = fetch_splits(FASHION_MNIST, data_dir=data_dir)
    if run is not None and other is not None:
        judges = disjoint_judges(extractor, train_pixels, test_pixels, num_images)
        print_spread(judges, load_generator(run, average=True), load_generator(other, average=True))
        return
    generator = load_generator(run, average=False) if run else None
    positives: Counter[str] = Counter()
    comparisons_with_any = 0
    for seed in track(range(num_comparisons), description="Comparing"):
        rows = np.random.default_rng(seed).permutation(len(test_pixels))
        judge = Judge(extractor, train_pixels[:6000], test_pixels[rows[:num_images]], n=num_images, seed=seed)
        real = test_pixels[rows[num_images:]], test_pixels[rows[::-1]]
        sets = _generated((generator, generator), num_images, seed) if generator else real
        one, two = (judge.examine(pixels) for pixels in sets)
        found = bootstrap_differences(one, two, judge.floor, extractor=extractor.name, seed=seed)
        significant = [row.title for row in found if row.verdict != "no difference beyond noise"]
        positives.update(significant)
        comparisons_with_any += bool(significant)
    _print(positives, comparisons_with_any, num_comparisons)


def _generated(generators: tuple[keras.Model, keras.Model], num_images: int, seed: int) -> Iterator[np.ndarray]:
    for side, generator in enumerate(generators):
        yield generate_pixels(generator, sample_inputs(generator, num_images, seed=2 * seed + side))


def disjoint_judges(
    extractor: Extractor, train_pixels: np.ndarray, test_pixels: np.ndarray, num_images: int
) -> Iterator[Judge]:
    """Yield a judge for each of the disjoint sets of num_images test images."""
    order = np.random.default_rng(0).permutation(len(test_pixels))
    for start in range(0, len(test_pixels) - num_images + 1, num_images):
        rows = order[start : start + num_images]
        yield Judge(extractor, train_pixels[:6000], test_pixels[rows], n=num_images, seed=0)


def print_spread(judges: Iterator[Judge], one: keras.Model, other: keras.Model) -> None:
    """Print, for each metric, the mean of the claimed standard errors beside the standard deviation over the sets."""
    differences, claimed = [], []
    for seed, judge in enumerate(judges):
        this, that = (judge.examine(pixels) for pixels in _generated((one, other), judge.n, seed))
        found = bootstrap_differences(this, that, judge.floor, extractor=judge.extractor.name, seed=seed)
        differences.append([_number(row.difference) for row in found])
        claimed.append([(_number(row.high) - _number(row.low)) / 2 for row in found])
    quantiles = np.array([STUDENT_QUANTILE if metric.by_classifier else NORMAL_QUANTILE for metric in METRICS])
    errors, spread = np.mean(claimed, axis=0) / quantiles, np.std(differences, axis=0, ddof=1)
    table = Table(f"{len(differences)} disjoint sets of {judge.n:,}", box=box.SIMPLE_HEAD)
    for name in ("mean difference", "claimed error", "actual spread", "claimed / actual"):
        table.add_column(name, justify="right")
    for metric, mean, error, actual in zip(METRICS, np.mean(differences, axis=0), errors, spread, strict=True):
        ratio = error / actual if actual else nan
        table.add_row(metric.title, *map(describe_number, (mean, error, actual, ratio)))
    print_table(terminal(), table)


def _number(value: float | None) -> float:
    return nan if value is None else value


def _print(positives: Counter[str], comparisons_with_any: int, num_comparisons: int) -> None:
    table = Table("Significant differences between sets of equal distributions", box=box.SIMPLE_HEAD)
    table.add_column(f"of {num_comparisons}", justify="right")
    for metric in METRICS:
        table.add_row(metric.title, str(positives[metric.title]))
    table.add_section()
    table.add_row("Any metric", str(comparisons_with_any))
    print_table(terminal(), table)


if __name__ == "__main__":
    run_command(app)
