"""Two published runs side by side: the same latents, and every metric's difference with its interval.

python -m gan.compare artifacts/runs/new artifacts/runs/old --out comparison.html
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table

from gan.command import check_output, output_file, run_command
from gan.data.catalog import CATALOG
from gan.data.pixels import denormalize_images
from gan.data.sources import fetch_splits
from gan.errors import SettingsError
from gan.formatting import describe_change, describe_interval, describe_number
from gan.judging.features import SHIPPED_SHA256, Extractor, shipped_weights
from gan.judging.judge import Judge
from gan.report.comparison import RunComparison, compare_runs
from gan.report.contestants import contestant_files, contestants
from gan.report.page import render_comparison
from gan.runs.manifest import (
    AVERAGE_SAMPLES,
    EXTRACTOR,
    GENERATOR,
    SAMPLES,
    Manifest,
    check_files,
    read_manifest,
)
from gan.storage.files import read_array, sha256_of
from gan.storage.links import follow_text_link
from gan.storage.store import Store

SEED, MIN_SAMPLES = 0, 100

app = App(
    name="python -m gan.compare",
    help="Compare two published runs on a page.",
    version_flags=(),
    suppress_keyboard_interrupt=False,
)


@app.default
def compare(
    run_a: Path,
    run_b: Path,
    *,
    out: Path = Path("comparison.html"),
    num_samples: Annotated[int, Parameter(validator=Number(gte=100, lte=60_000))] = 10_000,
) -> None:
    """Compare two published runs on a page: is A better than B?

    Parameters
    ----------
    run_a
        Folder of the run that is asked about.
    run_b
        Folder of the run that it is compared with.
    out
        The page.
    num_samples
        Images of each run, at most; as many as the runs and the test split have.
    """
    check_output(out, ".html")
    run_a, run_b = follow_text_link(run_a), follow_text_link(run_b)
    manifests = [read_manifest(run) for run in (run_a, run_b)]
    for run, manifest in zip((run_a, run_b), manifests, strict=True):
        check_files(run, manifest, GENERATOR, SAMPLES, AVERAGE_SAMPLES, EXTRACTOR)
    if manifests[0].data != manifests[1].data:
        raise SettingsError(f"{run_a} and {run_b} were trained on different data; they have no test images in common.")
    train_pixels, test_pixels = _find_images(manifests[0], (run_a, run_b))
    this, other, same_latents = contestants(*(contestant_files(run) for run in (run_a, run_b)), seed=SEED)
    sets = (this.samples, this.average_samples, other.samples, other.average_samples, test_pixels)
    n = min(num_samples, *map(len, sets))
    if n < MIN_SAMPLES:
        raise SettingsError(f"{run_a} and {run_b} have {n} samples to compare; expected {MIN_SAMPLES} or more of each.")
    judge = Judge(_find_extractor(manifests[0], run_a), train_pixels, test_pixels, n=n, seed=SEED)
    against = compare_runs(judge, this, other, same_latents=same_latents, seed=SEED)
    dataset = manifests[0].data.name
    credit = CATALOG[dataset].credit if dataset in CATALOG else dataset
    with output_file(out) as partial:
        partial.write_text(render_comparison(against, credit), encoding="utf-8")
    _print(against, out)


def _find_images(manifest: Manifest, runs: Iterable[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Training and test images as pixels: from the store beside a run, or fetched anew."""
    digests = [manifest.data.sha256.get(split, {}).get("images", "") for split in ("train", "test")]
    for run in runs:
        store = Store(run.resolve().parent.parent)
        paths = [store.root / "store" / digest[:2] / f"{digest}.npy" for digest in digests]
        if all(path.is_file() and sha256_of(path) == digest for path, digest in zip(paths, digests, strict=True)):
            train, test = (denormalize_images(read_array(path)) for path in paths)
            return train, test
    dataset = CATALOG.get(manifest.data.name)
    if dataset is None:
        raise SettingsError(
            f"The images of {manifest.data.name} are not in the store beside the runs.\n"
            "Run the pipeline on that data set again (it fills the store), then compare."
        )
    (train, _), (test, _) = fetch_splits(dataset, data_dir=None)
    return train, test


def _find_extractor(manifest: Manifest, run: Path) -> Extractor:
    """The one of this code for the data set, so that all comparisons have one measure; else the run's own."""
    dataset = manifest.data.name
    if dataset in SHIPPED_SHA256:
        return Extractor.load(shipped_weights(dataset), dataset, SHIPPED_SHA256[dataset])
    return Extractor.load(run / EXTRACTOR, dataset, sha256_of(run / EXTRACTOR))


def _print(against: RunComparison, out: Path) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"A      {against.this_name}\nB      {against.other_name}", markup=False)
    console.print(f"n      {against.n:,} images of each, {against.extractor} features\n", markup=False)
    for kind, rows in (("Last weights", against.differences), ("Averaged weights", against.average_differences)):
        table = Table(box=None, pad_edge=False)
        for heading in (kind, "A", "B", "Difference", "Interval", "A is"):
            table.add_column(heading, justify="left" if heading in (kind, "A is") else "right", no_wrap=True)
        for row in rows:
            interval = describe_interval(row.low, row.high)
            numbers = (describe_number(row.this), describe_number(row.other), describe_change(row.difference), interval)
            table.add_row(
                f"{row.title} (from real)" if row.is_from_real else row.title,
                *numbers,
                "" if row.verdict == "no difference beyond noise" else row.verdict,
            )
        console.print(table)
        console.print()
    console.print(f"{against.NOTE}\n", markup=False)
    console.print(f"Page   {out}", markup=False)


if __name__ == "__main__":
    run_command(app)
