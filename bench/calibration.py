"""Count false positives in comparisons of sets from equal distributions: python -m bench.calibration."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from gan.command import run_command
from gan.data.catalog import FASHION_MNIST
from gan.data.sources import fetch_splits
from gan.generate import load_generator
from gan.judging.bootstrap import bootstrap_differences
from gan.judging.definitions import METRICS
from gan.judging.features import SHIPPED_SHA256, Extractor, shipped_weights
from gan.judging.judge import Judge
from gan.models.backend import keras
from gan.models.generation import generate_pixels
from gan.models.latents import sample_inputs

app = App(
    name="python -m bench.calibration",
    help="Count false positives of comparisons.",
    version_flags=(),
)


@app.default
def main(
    *,
    run: Path | None = None,
    num_images: Annotated[int, Parameter(validator=Number(gte=100, lte=3000))] = 1000,
    num_comparisons: Annotated[int, Parameter(validator=Number(gte=1))] = 40,
    data_dir: Path | None = None,
) -> None:
    """Count false positives in comparisons of equal distributions.

    Parameters
    ----------
    run
        A published run, whose generator gives two sets from different latents; empty: two sets of real test images.
    num_images
        Images in each set.
    num_comparisons
        Comparisons, each with different images.
    data_dir
        Folder with the four files of Fashion-MNIST; empty: an earlier download, a mirror, or Debian's package.
    """
    generator = load_generator(run, average=False) if run else None
    name = FASHION_MNIST.name
    extractor = Extractor.load(shipped_weights(name), name, SHIPPED_SHA256[name])
    (train_pixels, _), (test_pixels, _) = fetch_splits(FASHION_MNIST, data_dir=data_dir)
    positives: Counter[str] = Counter()
    comparisons_with_any = 0
    for seed in track(range(num_comparisons), description="Comparing"):
        rows = np.random.default_rng(seed).permutation(len(test_pixels))
        judge = Judge(extractor, train_pixels[:6000], test_pixels[rows[:num_images]], n=num_images, seed=seed)
        real = test_pixels[rows[num_images:]], test_pixels[rows[::-1]]
        sets = _generated(generator, num_images, seed) if generator else real
        this, other = (judge.examine(pixels) for pixels in sets)
        found = bootstrap_differences(this, other, judge.floor, extractor=extractor.name, seed=seed)
        significant = [row.title for row in found if row.verdict != "no difference beyond noise"]
        positives.update(significant)
        comparisons_with_any += bool(significant)
    _print(positives, comparisons_with_any, num_comparisons)


def _generated(generator: keras.Model, num_images: int, seed: int) -> Iterator[np.ndarray]:
    for side in (0, 1):
        yield generate_pixels(generator, sample_inputs(generator, num_images, seed=2 * seed + side))


def _print(positives: Counter[str], comparisons_with_any: int, num_comparisons: int) -> None:
    table = Table("Significant differences between sets of equal distributions", box=box.SIMPLE_HEAD)
    table.add_column(f"of {num_comparisons}", justify="right")
    for metric in METRICS:
        table.add_row(metric.title, str(positives[metric.title]))
    table.add_section()
    table.add_row("Any metric", str(comparisons_with_any))
    Console(highlight=False).print(table)


if __name__ == "__main__":
    run_command(app)
