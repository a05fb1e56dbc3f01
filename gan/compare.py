"""Compare two published runs on the command line: images of the same latents, and the difference in every metric.

python -m gan.compare artifacts/runs/RUN_A artifacts/runs/RUN_B
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from gan.command import check_output, new_app, output_file, print_table, run_command, terminal
from gan.config import MAX_SAMPLES, MIN_SAMPLES
from gan.data.catalog import CATALOG
from gan.data.pixels import denormalize_images
from gan.data.sources import fetch_splits
from gan.errors import SettingsError
from gan.judging.features import SHIPPED_SHA256, Extractor
from gan.judging.judge import Judge
from gan.runs.manifest import (
    AVERAGE_GENERATOR,
    AVERAGE_SAMPLES,
    EXTRACTOR,
    SAMPLES,
    Manifest,
    check_files,
    read_manifest,
)
from gan.storage.files import read_array, sha256_of
from gan.storage.links import follow_text_link
from gan.storage.store import Store

if TYPE_CHECKING:  # --help and a refused option must not wait for TensorFlow
    from gan.report.comparison import RunComparison

SEED = 0

app = new_app("gan.compare")


@app.default
def compare(
    run_a: Path,
    run_b: Path,
    *,
    out: Path | None = None,
    num_samples: Annotated[int, Parameter(validator=Number(gte=MIN_SAMPLES, lte=MAX_SAMPLES))] = 10_000,
) -> None:
    """Compare two published runs on an HTML page: is run A better than run B?

    Args:
        run_a: Folder of run A.
        run_b: Folder of run B, the reference.
        out: Output file, .html; without it the front page of run A's output folder links the comparison, which is in
            comparisons/ there.
        num_samples: Maximum number of images of each run; fewer are used if a run or the test split has fewer.
    """
    run_a, run_b = follow_text_link(run_a), follow_text_link(run_b)
    manifests = [read_manifest(run) for run in (run_a, run_b)]
    for run, manifest in zip((run_a, run_b), manifests, strict=True):
        check_files(run, manifest, AVERAGE_GENERATOR, SAMPLES, AVERAGE_SAMPLES, EXTRACTOR)
    if manifests[0].data.images != manifests[1].data.images:
        raise SettingsError(f"{run_a} and {run_b} were trained on different data; they have no test images in common.")
    root, out = _default_output(run_a.resolve(), run_b.resolve()) if out is None else (None, out)
    check_output(out, ".html")
    from gan.models.backend import use_device
    from gan.report.comparison import ContestantFiles, compare_runs, load_contestant
    from gan.report.front_page import FRONT_PAGE, refresh_front_page
    from gan.report.page import render_comparison

    use_device("auto")
    train_pixels, test_pixels = _find_images(manifests[0], (run_a, run_b))
    this, other = (load_contestant(ContestantFiles.of_published(run), seed=SEED) for run in (run_a, run_b))
    sets = (this.samples, this.average_samples, other.samples, other.average_samples, test_pixels)
    n = min(num_samples, *map(len, sets))
    if n < MIN_SAMPLES:
        raise SettingsError(f"{run_a} and {run_b} have {n} samples to compare; expected {MIN_SAMPLES} or more of each.")
    judge = Judge(_find_extractor(manifests[0], run_a), train_pixels, test_pixels, n=n, seed=SEED)
    comparison = compare_runs(judge, this, other, seed=SEED)
    dataset = manifests[0].data.name
    page = render_comparison(comparison, CATALOG[dataset].credit if dataset in CATALOG else dataset)
    with output_file(out) as partial:
        partial.write_text(page, encoding="utf-8")
    if root is not None and (root / FRONT_PAGE).exists():
        refresh_front_page(root)
    _print_comparison(comparison, out)


def _default_output(run_a: Path, run_b: Path) -> tuple[Path, Path]:
    """Return the output folder of run A, and the page of the comparison in it."""
    from gan.report.front_page import COMPARISONS

    if run_a.parent.name not in ("runs", "champions"):
        raise SettingsError(f"--out is missing: {run_a} is in no output folder, where the page could go.")
    root = run_a.parent.parent
    return root, root / COMPARISONS / f"{run_a.name}-against-{run_b.name}.html"


def _find_images(manifest: Manifest, runs: Iterable[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return training and test pixels, from the store beside a run if it has them, else downloaded."""
    digests = [digest or "" for digest in manifest.data.images]
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
    """Load the extractor that ships for the data set, so that all comparisons use the same one; else the run's own."""
    dataset = manifest.data.name
    if dataset in SHIPPED_SHA256:
        return Extractor.shipped(dataset)
    return Extractor.load(run / EXTRACTOR, dataset, sha256_of(run / EXTRACTOR))


def _print_comparison(comparison: "RunComparison", out: Path) -> None:
    console = terminal()
    console.print(f"A      {comparison.this_name}\nB      {comparison.other_name}")
    console.print(f"n      {comparison.n:,} images of each, {comparison.extractor} features\n")
    tables = {"Averaged weights": comparison.average_differences, "Last weights": comparison.differences}
    for weights, rows in tables.items():
        table = Table(box=None, pad_edge=False)
        table.add_column(weights)  # the one column that is wrapped in a narrow terminal
        for heading in ("A", "B", "Difference", "Interval", "A is"):
            table.add_column(heading, justify="left" if heading == "A is" else "right", no_wrap=True)
        for row in rows:
            table.add_row(
                row.heading,
                row.describe(row.this),
                row.describe(row.other),
                row.change,
                row.interval,
                "" if row.verdict == "no difference beyond noise" else row.verdict,
            )
        print_table(console, table)
        console.print()
    console.print(f"{comparison.NOTE}\n")
    console.print(f"Page   {out}")


if __name__ == "__main__":
    run_command(app)
