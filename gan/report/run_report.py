"""The report on a trained run: draw its samples, judge them, and fill the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from gan.config import RunConfig
from gan.data.pixels import denormalize_images
from gan.data.samples import samples_bytes
from gan.formatting import describe_number, describe_seconds, describe_setting, describe_share
from gan.judging.definitions import Separation
from gan.judging.features import Extractor
from gan.judging.gate import Incumbent, challenge_champion
from gan.judging.judge import Judge, SnapshotJudge
from gan.judging.judgement import Judgement
from gan.models.generation import generate_pixels
from gan.models.latents import sample_inputs
from gan.models.networks import load_model
from gan.recipe import Recipe
from gan.report.comparison import Contestant, ContestantFiles, RunComparison, compare_runs, draw_shown, load_contestant
from gan.report.exhibits import Findings, make_exhibits
from gan.report.history_file import history_csv
from gan.report.page import Report, Rows, render_html, render_markdown
from gan.runs.changes import COMMIT_LENGTH
from gan.runs.manifest import AVERAGE_SAMPLES, FEATURE_EXTRACTOR, SAMPLES, Provenance
from gan.storage.files import read_array
from gan.system.progress import Update, progress

NUM_PARTS = 8
"""Parts of judging whose progress is shown."""


@dataclass(frozen=True)
class TrainedRun:
    """The files of a trained run, and the text that its report shows."""

    train_images: Path  # .npy, float32 (m, 28, 28, 1) in [-1, 1]
    train_labels: Path  # .npy, uint8 (m,)
    test_images: Path
    test_labels: Path
    summary: Path  # .json, of the data
    extractor: Path  # .keras
    generator: Path  # .keras, the last weights
    average: Path  # .keras, the averaged weights
    history: Path  # .npy, float32 (steps, 3)
    snapshots: Path  # .npy, uint8 (num_snapshots, num_images, 28, 28)
    average_snapshots: Path  # .npy, of the averaged weights, uint8 (num_average_steps, num_images, 28, 28)
    animation: Path  # .webp
    interpolation: Path  # .png
    settings: RunConfig
    title: str  # of the data set
    credit: str
    class_names: Sequence[str]
    warnings: Sequence[str]  # signs of collapse
    data_warnings: Sequence[str]
    separation: Separation
    separation_logits: Path  # .npy, float32 (num_images,), of the averaged generator's images
    provenance: Provenance
    conditions: Mapping[str, str]  # settings, code, versions and device, as text by name


def report_run(
    run: TrainedRun, reference: ContestantFiles | None, champion: Incumbent | None
) -> tuple[Judgement, dict[str, bytes]]:
    """Judge a run against the test split, the reference and the champion, and write the report.

    Args:
        run: The run.
        reference: The earlier run that it is compared with.
        champion: The run that it has to beat.

    Returns:
        The judgement, and the files about it, by their path in the run's folder.
    """
    seed = run.settings.samples.seed
    with progress("Judging", NUM_PARTS, unit="parts") as update:
        found = _judge(run, update)
        metrics = found.judge.metrics(found.last, found.average)
        update(5, "the earlier run" if reference else "")
        against = _compare(run, found, reference) if reference else None
        known = {reference.average_samples: against.average_differences} if reference and against else {}
        update(6, "the champion" if champion else "")
        gate = challenge_champion(
            found.judge, found.average_pixels, metrics, found.class_shares, run.warnings, champion, known, seed=seed
        )
        update(7, "pictures")
        exhibits = make_exhibits(found, seed=seed)
        update(NUM_PARTS, "")
    report = Report(
        title=f"{run.title}: real and generated",
        run_name=run.settings.name,
        subtitle=_subtitle(run),
        metrics=metrics,
        class_shares=found.class_shares,
        extractor_sha256=run.provenance.networks[FEATURE_EXTRACTOR],
        warnings=run.warnings,
        data_warnings=run.data_warnings,
        exhibits=exhibits,
        animation=run.animation,
        interpolation=run.interpolation,
        against=against,
        gate=gate,
        asked_classes=found.asked_classes,
        separation=run.separation,
        settings=[("data", _describe_data(found)), *_setting_rows(run.settings)],
        provenance=_provenance_rows(run.provenance),
        timings=_timing_rows(run.provenance),
        credit=run.credit,
    )
    return _judgement(report), _files(report, found)


def _judge(run: TrainedRun, update: Update) -> Findings:
    """Generate images from the last and from the averaged weights, for the same latents and classes; judge both.

    `update` is called with the number of each part, as it begins, and with its name.
    """
    update(0, "generating images")
    config, train_labels = run.settings.samples, read_array(run.train_labels)
    generator, average_generator = load_model(run.generator), load_model(run.average)
    inputs = sample_inputs(generator, config.num_images, seed=config.seed, like_labels=train_labels)
    last_pixels, average_pixels = generate_pixels(generator, inputs), generate_pixels(average_generator, inputs)
    network = Extractor.load(run.extractor, run.provenance.dataset, run.provenance.networks[FEATURE_EXTRACTOR])
    train_pixels, test_pixels = (denormalize_images(read_array(path)) for path in (run.train_images, run.test_images))
    n = min(len(test_pixels), len(last_pixels))
    update(1, "real images")
    judge = Judge(network, train_pixels, test_pixels, n=n, seed=config.seed)
    update(2, "images of the last weights")
    last = judge.examine(last_pixels)
    update(3, "images of the averaged weights")
    average = judge.examine(average_pixels)
    update(4, "snapshots")
    train = run.settings.train
    snapshots = read_array(run.snapshots)
    average_snapshots = read_array(run.average_snapshots)
    snapshot_judge = SnapshotJudge(network, test_pixels, snapshots.shape[1])
    quality_of_average = dict(zip(train.average_steps, map(snapshot_judge, average_snapshots), strict=True))
    return Findings(
        judge=judge,
        class_names=run.class_names,
        train_pixels=train_pixels,
        test_labels=read_array(run.test_labels),
        last_pixels=last_pixels,
        average_pixels=average_pixels,
        asked_labels=inputs.labels,
        separation_logits=read_array(run.separation_logits)[:n],
        last=last,
        average=average,
        snapshot_steps=train.snapshot_steps,
        snapshots=snapshots,
        quality=np.array([snapshot_judge(pixels) for pixels in snapshots]),
        average_quality=np.array([quality_of_average.get(step, (np.nan, np.nan)) for step in train.snapshot_steps]),
        quality_of=snapshot_judge.description,
        history=read_array(run.history),
    )


def _compare(run: TrainedRun, found: Findings, reference: ContestantFiles) -> RunComparison:
    """Compare a run with its reference, on as many images as both have."""
    seed, samples = run.settings.samples.seed, (found.last_pixels, found.average_pixels)
    shown, shapes = draw_shown(run.average, run.summary, seed=seed)
    this = Contestant("This run", shown, shapes, *samples, run.conditions)
    other = load_contestant(reference, seed=seed)
    judge = found.judge.with_n(min(found.judge.n, len(other.samples), len(other.average_samples)))
    return compare_runs(judge, this, other, seed=seed)


def _judgement(report: Report) -> Judgement:
    against = report.against
    return Judgement(
        badge=report.badge.words,
        verdict=report.verdict,
        metrics=report.metrics,
        differences=against.differences if against else (),
        average_differences=against.average_differences if against else (),
        reference=against.other_name if against else None,
        history_quality=report.exhibits.quality_of,
        class_shares=report.class_shares,
        asked_classes=report.asked_classes,
        separation=report.separation,
        gate=report.gate,
    )


def _files(report: Report, found: Findings) -> dict[str, bytes]:
    exhibits, quality = report.exhibits, np.hstack([found.quality, found.average_quality])
    return {
        SAMPLES: samples_bytes(found.last_pixels, found.asked_labels),
        AVERAGE_SAMPLES: samples_bytes(found.average_pixels, found.asked_labels),
        "report.html": render_html(report).encode(),
        "report.md": render_markdown(report).encode(),
        "history.csv": history_csv(found.history, dict(zip(found.snapshot_steps, quality, strict=True))),
        "real_grid.png": exhibits.real_grid,
        "average_grid.png": exhibits.average_grid,
        "last_grid.png": exhibits.last_grid,
        "real_above_generated.png": exhibits.pairs,
        "class_rows.png": exhibits.class_rows,
        "neighbours.png": exhibits.neighbour_rows,
        "quality.png": exhibits.quality,
        "curves.png": exhibits.curves,
    }


def _subtitle(run: TrainedRun) -> str:
    """Return in one line how and where the run was trained, and when and by which code it was judged."""
    train, made_from, commit = run.settings.train, run.provenance, run.conditions.get("commit", "")
    device = made_from.training.get("device", "unknown device")
    duration = made_from.training.get("training_seconds")  # of all processes that trained it
    now = datetime.now(UTC)
    return " · ".join(
        part
        for part in (
            f"recipe {train.recipe.name}, {train.steps:,} steps, seed {train.seed}",
            f"trained on {device} in {describe_seconds(float(duration))}" if duration else f"trained on {device}",
            f"judged on {now.day} {now:%B %Y}",
            commit and f"commit {commit[:8]}{commit[COMMIT_LENGTH:]}",
        )
        if part
    )


def _setting_rows(run: RunConfig) -> Rows:
    """Return the settings of a run, as the report shows them."""
    train, recipe, setting = run.train, run.train.recipe, describe_setting
    betas = f"betas {setting(recipe.adam_beta_1)} and {setting(recipe.adam_beta_2)}"
    half_life = f"half-life {recipe.average_half_life_images:,} images"
    ramp_up = f"limited to {describe_share(recipe.average_ramp_up)} of the images seen so far"
    return [
        ("recipe", f"{recipe.name} ({recipe.paper})"),
        ("steps", f"{train.steps:,}"),
        ("batch size", f"{train.batch_size:,} images"),
        ("seed", str(train.seed)),
        ("samples", f"{run.samples.num_images:,} images"),
        *_budget_rows(run),
        ("generator", f"{recipe.latent_dim} latent dimensions, {_network(recipe, recipe.generator_units)}"),
        ("discriminator", _network(recipe, recipe.discriminator_units)),
        ("average", f"of the generator's weights, {half_life}, {ramp_up}"),
        ("loss", _loss(recipe)),
        ("Adam", f"{setting(recipe.learning_rate)}, {betas}"),
    ]


def _budget_rows(run: RunConfig) -> Rows:
    """Return the epochs of the networks that judge, if they were given."""
    given = {"epochs of the extractor": run.extractor_epochs, "epochs of the two-sample network": run.two_sample_epochs}
    return [(name, f"{epochs:,}") for name, epochs in given.items() if epochs is not None]


def _describe_data(found: Findings) -> str:
    """Return the sizes of the data set, in words."""
    num_train, num_test = len(found.train_pixels), len(found.test_labels)
    return f"{num_train:,} training and {num_test:,} test images of {len(found.class_names)} classes"


def _provenance_rows(made_from: Provenance) -> Rows:
    """Return the data, the networks and the device of a run, as the report shows them."""
    digests = {"training images": made_from.sha256["train"]["images"], **made_from.networks}
    files = {title: f"SHA-256 {digest[:16]}…" for title, digest in digests.items()}
    if made_from.extractor_accuracy is not None:  # it shows how much its features can be trusted
        share = describe_share(float(made_from.extractor_accuracy))
        files[FEATURE_EXTRACTOR] += f", right for {share} of the test images"
    device = f"{made_from.training.get('device', 'unknown')}, {made_from.training.get('engine', '')}"
    source = "unknown" if made_from.source is None else str(made_from.source)
    return [("source of the data", source), *files.items(), ("trained on", device)]


def _timing_rows(made_from: Provenance) -> Rows:
    """Return the durations of the stages before the report, as the report shows them."""
    training = made_from.training
    rows = [(stage, describe_seconds(seconds)) for stage, seconds in made_from.seconds.items()]
    if "milliseconds_per_step" in training:
        rows.append(("a training step", f"{describe_number(float(training['milliseconds_per_step']))} ms"))
    if training.get("resumed_at_step"):
        rows.append(("resumed", f"at step {training['resumed_at_step']:,}"))
    return rows


def _network(recipe: Recipe, widths: tuple[int, ...]) -> str:
    groups, classes = recipe.num_groups, recipe.num_classes
    condition = f"{groups} groups, " if groups else f"{classes} classes, " if classes else ""
    return f"{condition}{recipe.layers} {', '.join(map(str, widths))}"


def _loss(recipe: Recipe) -> str:
    if recipe.algorithm == "article":
        return "binary cross-entropy"
    often = "step" if recipe.penalty_every == 1 else f"{recipe.penalty_every} steps"
    weight, gamma = describe_setting(recipe.mismatch_weight), describe_setting(recipe.gradient_penalty)
    mismatches = f", mismatch loss weighted {weight}" if recipe.mismatch_weight else ""
    return f"relativistic, gradient penalties of gamma {gamma} every {often}{mismatches}"
