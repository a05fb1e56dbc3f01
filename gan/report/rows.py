"""The rows of a report's last tables: settings, provenance and timings of the run."""

from gan.config import RunContent
from gan.formatting import describe_seconds, describe_setting, describe_share
from gan.recipes import Recipe
from gan.runs.provenance import FEATURE_EXTRACTOR, Provenance

Rows = list[tuple[str, str]]


def setting_rows(run: RunContent) -> Rows:
    """Return the settings of a run for display."""
    recipe, setting = run.train.recipe, describe_setting
    return [
        ("recipe", f"{recipe.name} ({recipe.paper})"),
        ("steps", f"{run.train.steps:,}"),
        ("batch size", f"{run.train.batch_size:,} images"),
        ("seed", str(run.train.seed)),
        ("samples", f"{run.samples.num_images:,} images"),
        ("generator", f"{recipe.latent_dim} latents, {_network(recipe, recipe.generator_units)}"),
        ("discriminator", _network(recipe, recipe.discriminator_units)),
        (
            "average",
            f"of the generator's weights, half-life {recipe.average_half_life_images:,} images, at most "
            f"{describe_share(recipe.average_ramp_up)} of those seen",
        ),
        ("loss", _loss(recipe)),
        (
            "Adam",
            f"{setting(recipe.learning_rate)}, betas {setting(recipe.adam_beta_1)} and {setting(recipe.adam_beta_2)}",
        ),
    ]


def provenance_rows(made_from: Provenance) -> Rows:
    """Return the data, the files and the device of a run for display."""
    digests = {"training images": made_from.sha256["train"]["images"], **made_from.networks}
    files = {title: f"SHA-256 {digest[:16]}…" for title, digest in digests.items()}
    if made_from.extractor_accuracy is not None:  # the features of a classifier that guesses are worth nothing
        share = describe_share(float(made_from.extractor_accuracy))
        files[FEATURE_EXTRACTOR] += f", right for {share} of the test images"
    device = f"{made_from.training.get('device', 'unknown')}, {made_from.training.get('engine', '')}"
    source = "unknown" if made_from.source is None else str(made_from.source)
    return [("data", source), *files.items(), ("trained on", device)]


def timing_rows(made_from: Provenance) -> Rows:
    """Return the durations of the stages before the report for display."""
    training = made_from.training
    rows = [(stage, describe_seconds(seconds)) for stage, seconds in made_from.seconds.items()]
    if "milliseconds_per_step" in training:
        rows.append(("a training step", f"{training['milliseconds_per_step']} ms"))
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
    mismatches = f", mismatches of weight {weight}" if recipe.mismatch_weight else ""
    return f"relativistic, gradient penalties of gamma {gamma} every {often}{mismatches}"
