"""Stage 5: real against generated, in numbers and on a page."""

import numpy as np
from PIL.Image import Image

from gan.config import Device, SampleConfig, TrainConfig
from gan.datasets.pixels import denormalize_images
from gan.history import read_history
from gan.judging import judge
from gan.rendering import draw_grid, save_png
from gan.report.charts import draw_curves
from gan.report.page import Report, render_html, render_markdown
from gan.report.words import describe_seconds
from gan.sampling import sample_latents
from gan.store import FileRef, Store
from tasks.records import Comparison, NormalizedData, Pictures, RawData, TrainedGan
from tasks.stage import stage


@stage(run_name="compare real with generated", timeout_seconds=3600, incidental=("device",))
def compare(
    store: Store,
    raw: RawData,
    data: NormalizedData,
    trained: TrainedGan,
    pictures: Pictures,
    train_config: TrainConfig,
    sample_config: SampleConfig,
    device: Device,
) -> Comparison:
    """Draw samples, measure them against the test split, and write the report."""
    from gan.backend import use_device
    from gan.generate import generate_pixels, save_samples
    from gan.networks import load_generator

    use_device(device)

    def put(picture: Image) -> FileRef:
        return store.put_file(lambda path: save_png(picture, path), ".png")

    latents = sample_latents(sample_config.num_images, train_config.recipe.latent_dim, seed=sample_config.seed)
    fake_pixels = generate_pixels(load_generator(store.path(trained.generator)), latents)
    average_pixels = generate_pixels(load_generator(store.path(trained.average)), latents)
    train_pixels = denormalize_images(store.load_array(data.train_images))
    test_pixels = denormalize_images(store.load_array(data.test_images))
    metrics = judge(train_pixels, test_pixels, fake_pixels, average_pixels, seed=sample_config.seed)
    chosen = np.random.default_rng(sample_config.seed).choice(len(test_pixels), 64, replace=False)
    real_grid = put(draw_grid(test_pixels[chosen], 8, scale=3))
    generated_grid = put(draw_grid(fake_pixels[:64], 8, scale=3))
    average_grid = put(draw_grid(average_pixels[:64], 8, scale=3))
    curves = store.put_bytes(draw_curves(read_history(store.path(trained.history).read_text())), ".png")
    report = Report(
        title=f"{data.title}: real and generated",
        credit=data.credit,
        subtitle=f"Recipe {train_config.recipe.name}, {train_config.steps:,} steps, seed {train_config.seed}",
        metrics=metrics,
        warnings=trained.warnings,
        settings=_settings(train_config, sample_config),
        provenance=_provenance(raw, data, trained),
        timings=_timings(raw, data, trained, pictures),
        pictures={
            "real": store.path(real_grid),
            "fake": store.path(generated_grid),
            "average": store.path(average_grid),
            "curves": store.path(curves),
            "animation": store.path(pictures.animation),
            "interpolation": store.path(pictures.interpolation),
        },
        grids=[
            (f"step {step:,}", store.path(grid))
            for step, grid in zip(trained.snapshot_steps, pictures.grids, strict=True)
        ],
    )
    return Comparison(
        metrics=metrics,
        samples=store.put_file(lambda path: save_samples(fake_pixels, path), ".npz"),
        average_samples=store.put_file(lambda path: save_samples(average_pixels, path), ".npz"),
        real_grid=real_grid,
        generated_grid=generated_grid,
        average_grid=average_grid,
        curves=curves,
        report_html=store.put_bytes(render_html(report).encode(), ".html"),
        report_markdown=store.put_bytes(render_markdown(report).encode(), ".md"),
    )


def _settings(train_config: TrainConfig, sample_config: SampleConfig) -> list[tuple[str, str]]:
    recipe = train_config.recipe
    return [
        ("recipe", f"{recipe.name} ({recipe.paper})"),
        ("steps", f"{train_config.steps:,}"),
        ("batch size", f"{train_config.batch_size:,} images"),
        ("seed", str(train_config.seed)),
        ("samples", f"{sample_config.num_images:,} images"),
        ("generator", f"{recipe.latent_dim} latents, Dense {', '.join(map(str, recipe.generator_units))}, 784"),
        ("discriminator", f"Dense {', '.join(map(str, recipe.discriminator_units))}, 1"),
        ("average", f"of the generator's weights, half-life {recipe.average_half_life_images:,} images"),
        ("Adam", f"{recipe.learning_rate:g}, betas {recipe.adam_beta_1:g} and {recipe.adam_beta_2:g}"),
    ]


def _provenance(raw: RawData, data: NormalizedData, trained: TrainedGan) -> list[tuple[str, str]]:
    return [
        ("data", str(raw.facts.get("source", "unknown"))),
        ("training images", f"SHA-256 {data.train_images.sha256[:16]}…"),
        ("generator", f"SHA-256 {trained.generator.sha256[:16]}…"),
        ("averaged generator", f"SHA-256 {trained.average.sha256[:16]}…"),
        ("trained on", f"{trained.facts.get('device', 'unknown')}, {trained.facts.get('engine', '')}"),
    ]


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
