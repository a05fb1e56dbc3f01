"""Stage 5: real against generated, in numbers and on a page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gan.config import Device, SampleConfig, TrainConfig
from gan.data.pixels import denormalize_images
from gan.formatting import describe_seconds, describe_setting, describe_share
from gan.judging.definitions import Metric
from gan.judging.gate import Decision, decide
from gan.models.latents import sample_inputs
from gan.recipes import Recipe
from gan.storage.store import FileRef, Store
from gan.training.history import history_csv, read_history
from tasks.records import (
    Champion,
    ClassShare,
    Comparison,
    FittedExtractor,
    NormalizedData,
    Pictures,
    RawData,
    Reference,
    TrainedGan,
)
from tasks.stage import stage

if TYPE_CHECKING:  # matplotlib takes a second to import, for which a cached run must not wait
    from gan.report.comparison import RunComparison
    from gan.report.exhibits import Findings

FULL_N = 10_000
"""Images that a champion is judged by, or as many as are in the test split."""


class Drawn(NamedTuple):
    """Images of the same latents (and classes) through the last and through the averaged weights."""

    pixels: np.ndarray  # uint8 (n, 28, 28)
    average_pixels: np.ndarray  # uint8 (n, 28, 28)
    labels: np.ndarray | None  # int64 (n,), the classes that were asked for


@stage(run_name="compare real with generated", timeout_seconds=3600, incidental=("device",))
def compare(
    store: Store,
    raw: RawData,
    data: NormalizedData,
    extractor: FittedExtractor,
    trained: TrainedGan,
    pictures: Pictures,
    reference: Reference | None,
    champion: Champion | None,
    train_config: TrainConfig,
    sample_config: SampleConfig,
    device: Device,
) -> Comparison:
    """Draw samples, measure them against test split, reference and champion, and write the report."""
    from gan.data.samples import save_samples
    from gan.models.backend import use_device
    from gan.models.generation import generate_pixels
    from gan.models.networks import load_model
    from gan.report.exhibits import make_exhibits
    from gan.report.page import Report, render_html, render_markdown

    use_device(device)
    generator, average = load_model(store.path(trained.generator)), load_model(store.path(trained.average))
    inputs = sample_inputs(
        generator, sample_config.num_images, seed=sample_config.seed, like_labels=store.load_array(data.train_labels)
    )
    drawn = Drawn(generate_pixels(generator, inputs), generate_pixels(average, inputs), inputs.labels)
    samples = store.put_file(lambda path: save_samples(drawn.pixels, path, drawn.labels), ".npz")
    average_samples = store.put_file(lambda path: save_samples(drawn.average_pixels, path, drawn.labels), ".npz")

    found = _judge(store, data, extractor, trained, drawn, sample_config)
    against = (
        _against(store, data, found, trained, samples, average_samples, reference, sample_config) if reference else None
    )
    metrics = found.judge.metrics(found.fake, found.average)
    gate = _ask_gate(store, found, trained, metrics, reference, champion, against, sample_config)
    exhibits = make_exhibits(found, seed=sample_config.seed)
    report = Report(
        title=f"{data.title}: real and generated",
        subtitle=f"Recipe {train_config.recipe.name}, {train_config.steps:,} steps, seed {train_config.seed}",
        metrics=metrics,
        extractor_sha256=extractor.weights.sha256,
        warnings=trained.warnings,
        data_warnings=(*data.warnings, *extractor.warnings),
        exhibits=exhibits,
        animation=store.path(pictures.animation),
        interpolation=store.path(pictures.interpolation),
        against=against,
        gate=gate,
        asked_classes=found.asked_classes,
        settings=_settings(train_config, sample_config),
        provenance=_provenance(raw, data, extractor, trained),
        timings=_timings(raw, data, trained, pictures),
        credit=data.credit,
    )
    quality = dict(zip(trained.snapshot_steps, found.quality, strict=True))
    return Comparison(
        metrics=metrics,
        differences=tuple(against.differences) if against else (),
        average_differences=tuple(against.average_differences) if against else (),
        verdict=report.verdict,
        gate=gate,
        class_shares=tuple(
            ClassShare(name=row.name, real=row.real_share, generated=row.fake_share) for row in exhibits.classes
        ),
        asked_classes=found.asked_classes,
        samples=samples,
        average_samples=average_samples,
        history=store.put_bytes(history_csv(found.history, quality), ".csv"),
        real_grid=store.put_bytes(exhibits.real_grid, ".png"),
        generated_grid=store.put_bytes(exhibits.fake_grid, ".png"),
        average_grid=store.put_bytes(exhibits.average_grid, ".png"),
        pairs=store.put_bytes(exhibits.pairs, ".png"),
        class_rows=store.put_bytes(exhibits.class_rows, ".png"),
        neighbours=store.put_bytes(exhibits.neighbour_rows, ".png"),
        history_quality=found.quality_of,
        quality=store.put_bytes(exhibits.quality, ".png"),
        curves=store.put_bytes(exhibits.curves, ".png"),
        report_html=store.put_bytes(render_html(report).encode(), ".html"),
        report_markdown=store.put_bytes(render_markdown(report).encode(), ".md"),
    )


def _judge(
    store: Store,
    data: NormalizedData,
    extractor: FittedExtractor,
    trained: TrainedGan,
    drawn: Drawn,
    config: SampleConfig,
) -> "Findings":
    from gan.judging.features import Extractor
    from gan.judging.judge import Judge
    from gan.report.exhibits import Findings

    network = Extractor.load(store.path(extractor.weights), data.dataset, extractor.weights.sha256)
    train_pixels = denormalize_images(store.load_array(data.train_images))
    test_pixels = denormalize_images(store.load_array(data.test_images))
    n = min(len(test_pixels), len(drawn.pixels))
    judge = Judge(network, train_pixels, test_pixels, n=n, seed=config.seed)
    snapshots = store.load_array(trained.snapshots)
    snapshot_judge = judge.for_snapshots(snapshots.shape[1])
    return Findings(
        judge=judge,
        class_names=data.class_names,
        train_pixels=train_pixels,
        test_labels=store.load_array(data.test_labels),
        fake_pixels=drawn.pixels,
        average_pixels=drawn.average_pixels,
        asked_labels=drawn.labels,
        fake=judge.examine(drawn.pixels),
        average=judge.examine(drawn.average_pixels),
        snapshot_steps=trained.snapshot_steps,
        snapshots=snapshots,
        quality=np.array([snapshot_judge(pixels) for pixels in snapshots]),
        quality_of=snapshot_judge.description,
        history=read_history(store.path(trained.history).read_text()),
    )


def _against(
    store: Store,
    data: NormalizedData,
    found: "Findings",
    trained: TrainedGan,
    samples: FileRef,
    average_samples: FileRef,
    reference: Reference,
    config: SampleConfig,
) -> "RunComparison":
    """The comparison with the reference, on as many images as both have."""
    from gan.report.comparison import compare_runs
    from gan.report.contestants import ContestantFiles, contestants

    summary = store.path(data.summary)  # a reference was trained on the same data
    this, other, same_latents = contestants(
        ContestantFiles(
            "This run", store.path(trained.generator), store.path(samples), store.path(average_samples), summary
        ),
        ContestantFiles(
            reference.name,
            store.path(reference.generator),
            store.path(reference.samples),
            store.path(reference.average_samples),
            summary,
        ),
        seed=config.seed,
    )
    judge = found.judge.with_n(min(found.judge.n, len(other.samples), len(other.average_samples)))
    return compare_runs(judge, this, other, same_latents=same_latents, seed=config.seed)


def _ask_gate(
    store: Store,
    found: "Findings",
    trained: TrainedGan,
    metrics: Sequence[Metric],
    reference: Reference | None,
    champion: Champion | None,
    against: "RunComparison | None",
    config: SampleConfig,
) -> Decision:
    """Whether the averaged generator may become the champion; what the reference has shown is not measured again."""
    from gan.data.samples import load_samples
    from gan.judging.bootstrap import bootstrap_differences

    full_n = min(FULL_N, found.judge.num_test)
    if champion is None or champion.average_samples is None:
        name, obstacle = (champion.name, champion.obstacle) if champion else (None, "")
        return decide(metrics, trained.warnings, name, (), obstacle, full_n=full_n)
    if against and reference and reference.average_samples == champion.average_samples:
        return decide(metrics, trained.warnings, champion.name, against.average_differences, full_n=full_n)
    samples = load_samples(store.path(champion.average_samples))
    judge = found.judge.with_n(min(found.judge.n, len(samples)))
    differences = bootstrap_differences(
        judge.examine(found.average_pixels),
        judge.examine(samples),
        judge.floor,
        extractor=judge.extractor.name,
        seed=config.seed,
    )
    return decide(metrics, trained.warnings, champion.name, differences, full_n=full_n)


def _settings(train_config: TrainConfig, sample_config: SampleConfig) -> list[tuple[str, str]]:
    recipe = train_config.recipe
    return [
        ("recipe", f"{recipe.name} ({recipe.paper})"),
        ("steps", f"{train_config.steps:,}"),
        ("batch size", f"{train_config.batch_size:,} images"),
        ("seed", str(train_config.seed)),
        ("samples", f"{sample_config.num_images:,} images"),
        (
            "generator",
            f"{recipe.latent_dim} latents, {_kinds(recipe)}{recipe.layers} "
            + ", ".join(map(str, recipe.generator_units)),
        ),
        ("discriminator", f"{_kinds(recipe)}{recipe.layers} {', '.join(map(str, recipe.discriminator_units))}"),
        (
            "average",
            f"of the generator's weights, half-life {recipe.average_half_life_images:,} images, at most "
            f"{describe_share(recipe.average_ramp_up)} of those seen",
        ),
        ("loss", _loss(recipe)),
        (
            "Adam",
            f"{describe_setting(recipe.learning_rate)}, betas {describe_setting(recipe.adam_beta_1)} and "
            f"{describe_setting(recipe.adam_beta_2)}",
        ),
    ]


def _kinds(recipe: Recipe) -> str:
    if recipe.num_groups:
        return f"{recipe.num_groups} groups, "
    return f"{recipe.num_classes} classes, " if recipe.num_classes else ""


def _loss(recipe: Recipe) -> str:
    if recipe.algorithm == "article":
        return "binary cross-entropy"
    often = "step" if recipe.penalty_every == 1 else f"{recipe.penalty_every} steps"
    weight, gamma = describe_setting(recipe.mismatch_weight), describe_setting(recipe.gradient_penalty)
    mismatches = f", mismatches of weight {weight}" if recipe.mismatch_weight else ""
    return f"relativistic, gradient penalties of gamma {gamma} every {often}{mismatches}"


def _provenance(
    raw: RawData, data: NormalizedData, extractor: FittedExtractor, trained: TrainedGan
) -> list[tuple[str, str]]:
    return [
        ("data", str(raw.facts.get("source", "unknown"))),
        ("training images", f"SHA-256 {data.train_images.sha256[:16]}…"),
        ("generator", f"SHA-256 {trained.generator.sha256[:16]}…"),
        ("averaged generator", f"SHA-256 {trained.average.sha256[:16]}…"),
        ("feature extractor", f"SHA-256 {extractor.weights.sha256[:16]}…{_accuracy(extractor)}"),
        ("trained on", f"{trained.facts.get('device', 'unknown')}, {trained.facts.get('engine', '')}"),
    ]


def _accuracy(extractor: FittedExtractor) -> str:
    """How good a classifier that was fitted in this pipeline is: the features of one that guesses are worth nothing."""
    share = extractor.facts.get("test_accuracy")
    return f", right for {describe_share(float(share))} of the test images" if share is not None else ""


def _timings(raw: RawData, data: NormalizedData, trained: TrainedGan, pictures: Pictures) -> list[tuple[str, str]]:
    rows = [
        ("fetch", describe_seconds(raw.seconds)),
        ("normalize", describe_seconds(data.seconds)),
        ("train", describe_seconds(trained.seconds)),
        ("render", describe_seconds(pictures.seconds)),
    ]
    if "milliseconds_per_step" in trained.facts:
        rows.append(("a training step", f"{trained.facts['milliseconds_per_step']} ms"))
    if trained.facts.get("resumed_at_step"):
        rows.append(("resumed", f"at step {trained.facts['resumed_at_step']:,}"))
    return rows
