"""The report on a trained run: draw its samples, judge them, and fill the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gan.config import RunContent
from gan.data.pixels import denormalize_images
from gan.data.samples import samples_bytes
from gan.judging.challenge import Incumbent, challenge_champion
from gan.judging.features import Extractor
from gan.judging.judge import Judge
from gan.judging.judgement import ClassShare, Judgement
from gan.models.generation import generate_pixels
from gan.models.latents import sample_inputs
from gan.models.networks import load_model
from gan.report.comparison import Contestant, RunComparison, compare_runs
from gan.report.contestants import ContestantFiles, draw_shown, load_contestant
from gan.report.exhibits import Findings, make_exhibits
from gan.report.page import Report, render_html, render_markdown
from gan.report.rows import provenance_rows, setting_rows, timing_rows
from gan.runs.manifest import AVERAGE_SAMPLES, SAMPLES
from gan.runs.provenance import FEATURE_EXTRACTOR, Provenance
from gan.storage.files import read_array
from gan.training.history import history_csv, read_history


@dataclass(frozen=True)
class RunFiles:
    """The files that a report is made from."""

    train_images: Path  # .npy, float32 (m, 28, 28, 1) in [-1, 1]
    train_labels: Path  # .npy, uint8 (m,)
    test_images: Path
    test_labels: Path
    summary: Path  # .json, of the data
    extractor: Path  # .keras
    generator: Path  # .keras, the last weights
    average: Path  # .keras, the averaged weights
    history: Path  # .csv
    snapshots: Path  # .npy, uint8 (num_snapshots, num_images, 28, 28)
    animation: Path  # .webp
    interpolation: Path  # .png


@dataclass(frozen=True)
class TrainedRun:
    """A trained run, with the text that its report shows."""

    files: RunFiles
    settings: RunContent
    title: str  # of the data set
    credit: str
    class_names: Sequence[str]
    snapshot_steps: Sequence[int]
    warnings: Sequence[str]  # signs of collapse
    data_warnings: Sequence[str]
    provenance: Provenance


class Samples(NamedTuple):
    """Images of the same latents (and classes) from the last and from the averaged weights."""

    pixels: np.ndarray  # uint8 (n, 28, 28)
    average_pixels: np.ndarray  # uint8 (n, 28, 28)
    labels: np.ndarray | None  # int64 (n,), the requested classes


def report_run(
    run: TrainedRun, reference: ContestantFiles | None, champion: Incumbent | None
) -> tuple[Judgement, dict[str, bytes]]:
    """Judge a run against test split, reference and champion, and write the report.

    Args:
        run: The run.
        reference: The earlier run that it is compared with.
        champion: The run that it has to beat.

    Returns:
        The judgement, and the files about it, by their path in the run's folder.
    """
    seed, train = run.settings.samples.seed, run.settings.train
    samples = _draw_samples(run)
    found = _judge(run, samples)
    against = _compare(run, samples, found.judge, reference) if reference else None
    metrics = found.judge.metrics(found.fake, found.average)
    known = {reference.average_samples: against.average_differences} if reference and against else {}
    gate = challenge_champion(found.judge, samples.average_pixels, metrics, run.warnings, champion, known, seed=seed)
    exhibits = make_exhibits(found, seed=seed)
    report = Report(
        title=f"{run.title}: real and generated",
        subtitle=f"Recipe {train.recipe.name}, {train.steps:,} steps, seed {train.seed}",
        metrics=metrics,
        extractor_sha256=run.provenance.networks[FEATURE_EXTRACTOR],
        warnings=run.warnings,
        data_warnings=run.data_warnings,
        exhibits=exhibits,
        animation=run.files.animation,
        interpolation=run.files.interpolation,
        against=against,
        gate=gate,
        asked_classes=found.asked_classes,
        settings=setting_rows(run.settings),
        provenance=provenance_rows(run.provenance),
        timings=timing_rows(run.provenance),
        credit=run.credit,
    )
    quality = dict(zip(run.snapshot_steps, found.quality, strict=True))
    return _judgement(report), _files(report, samples, history_csv(found.history, quality))


def _draw_samples(run: TrainedRun) -> Samples:
    generator, average = load_model(run.files.generator), load_model(run.files.average)
    config, labels = run.settings.samples, read_array(run.files.train_labels)
    inputs = sample_inputs(generator, config.num_images, seed=config.seed, like_labels=labels)
    return Samples(generate_pixels(generator, inputs), generate_pixels(average, inputs), inputs.labels)


def _judge(run: TrainedRun, samples: Samples) -> Findings:
    files = run.files
    network = Extractor.load(files.extractor, run.provenance.dataset, run.provenance.networks[FEATURE_EXTRACTOR])
    train_pixels, test_pixels = (
        denormalize_images(read_array(path)) for path in (files.train_images, files.test_images)
    )
    n = min(len(test_pixels), len(samples.pixels))
    judge = Judge(network, train_pixels, test_pixels, n=n, seed=run.settings.samples.seed)
    snapshots = read_array(files.snapshots)
    snapshot_judge = judge.for_snapshots(snapshots.shape[1])
    return Findings(
        judge=judge,
        class_names=run.class_names,
        train_pixels=train_pixels,
        test_labels=read_array(files.test_labels),
        fake_pixels=samples.pixels,
        average_pixels=samples.average_pixels,
        asked_labels=samples.labels,
        fake=judge.examine(samples.pixels),
        average=judge.examine(samples.average_pixels),
        snapshot_steps=run.snapshot_steps,
        snapshots=snapshots,
        quality=np.array([snapshot_judge(pixels) for pixels in snapshots]),
        quality_of=snapshot_judge.description,
        history=read_history(files.history.read_text()),
    )


def _compare(run: TrainedRun, samples: Samples, judge: Judge, reference: ContestantFiles) -> RunComparison:
    """Compare a run with its reference, on as many images as both have."""
    seed = run.settings.samples.seed
    shown, input_shapes = draw_shown(run.files.generator, run.files.summary, seed=seed)
    this = Contestant("This run", shown, input_shapes, samples.pixels, samples.average_pixels)
    other = load_contestant(reference, seed=seed)
    judge = judge.with_n(min(judge.n, len(other.samples), len(other.average_samples)))
    return compare_runs(judge, this, other, seed=seed)


def _judgement(report: Report) -> Judgement:
    against, exhibits = report.against, report.exhibits
    return Judgement(
        verdict=report.verdict,
        metrics=tuple(report.metrics),
        differences=tuple(against.differences) if against else (),
        average_differences=tuple(against.average_differences) if against else (),
        reference=against.other_name if against else None,
        history_quality=exhibits.quality_of,
        class_shares=tuple(
            ClassShare(name=row.name, real=row.real_share, generated=row.fake_share) for row in exhibits.classes
        ),
        asked_classes=report.asked_classes,
        gate=report.gate,
    )


def _files(report: Report, samples: Samples, history: bytes) -> dict[str, bytes]:
    exhibits = report.exhibits
    return {
        SAMPLES: samples_bytes(samples.pixels, samples.labels),
        AVERAGE_SAMPLES: samples_bytes(samples.average_pixels, samples.labels),
        "report.html": render_html(report).encode(),
        "report.md": render_markdown(report).encode(),
        "history.csv": history,
        "real_grid.png": exhibits.real_grid,
        "generated_grid.png": exhibits.fake_grid,
        "average_grid.png": exhibits.average_grid,
        "real_above_generated.png": exhibits.pairs,
        "class_rows.png": exhibits.class_rows,
        "neighbours.png": exhibits.neighbour_rows,
        "quality.png": exhibits.quality,
        "curves.png": exhibits.curves,
    }
