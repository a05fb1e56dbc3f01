"""Checks during training: values that are not finite stop it; signs of collapse cause a warning."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np

from gan.config import TrainConfig
from gan.errors import TrainingError
from gan.models.backend import keras
from gan.models.latents import Stream, sample_inputs
from gan.models.networks import Networks
from gan.training.groups import group_latents
from gan.training.history import HISTORY_COLUMNS
from gan.training.train_step import Infer

CHECK_EVERY = 200
"""Steps between two checks for collapse; a multiple of the steps per call."""

MIN_STEPS = 500
"""No check before this step: an untrained generator gives nearly equal images, and its discriminator is soon sure."""

NUM_SPREAD_IMAGES, NUM_SPREAD_FAKES = 1000, 64
MIN_RELATIVE_SPREAD = 0.05
CERTAIN_ACCURACY, CERTAIN_STEPS = 0.995, 500
MAX_LOSS = 100
"""Limit on the median of losses, which is below 5 in usable trainings."""

log = logging.getLogger(__name__)


def refuse_non_finite_losses(rows: np.ndarray, first_step: int, networks: Networks) -> None:
    """Raise a TrainingError that names the first step with a loss that is not finite, its losses and such a weight."""
    if np.isfinite(rows).all():
        return
    index = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
    values = ", ".join(
        f"{name} ({'not a number' if np.isnan(value) else 'infinite'})"
        for name, value in zip(HISTORY_COLUMNS, rows[index], strict=True)
        if not np.isfinite(value)
    )
    weight = _non_finite_weight(networks)
    raise _not_finite(first_step + index, f"{values}; {weight}" if weight else values)


def refuse_non_finite_weights(networks: Networks, steps_done: int) -> None:
    """Raise a TrainingError that names a weight, an average or a moment of Adam that is not finite."""
    if weight := _non_finite_weight(networks):
        raise _not_finite(steps_done - 1, weight)


def refuse_non_finite_images(fakes: np.ndarray, networks: Networks, steps_done: int) -> None:
    """Raise a TrainingError if images are not finite: a weight is not finite, or activations overflow float32."""
    if not np.isfinite(fakes).all():
        raise _not_finite(steps_done - 1, _non_finite_weight(networks) or "generated images")


def _non_finite_weight(networks: Networks) -> str | None:
    for part in fields(networks):
        for variable in getattr(networks, part.name).variables:
            if not np.isfinite(variable.numpy()).all():
                return f"{part.name}/{variable.path.partition('/')[2]}"
    return None


def _not_finite(step: int, what: str) -> TrainingError:
    return TrainingError(
        f"Training stopped at step {step:,}: not finite: {what}.\n"
        "The same settings would probably fail again, so there is no retry. A checkpoint from before is kept, "
        "if there is one. Choose another --seed, or a lower learning rate (--set learning_rate=...)."
    )


class CollapseCheck:
    """A check of the discriminator's accuracy and of images from fixed latents for collapse.

    With conditioning it compares images of the most frequent condition, since those of different ones always differ.
    """

    def __init__(
        self,
        generator: keras.Model,
        infer: Infer,
        images: np.ndarray,
        config: TrainConfig,
        conditions: np.ndarray | None,
    ) -> None:
        """Measure the spread of real images, and draw the latents; `infer` is that of the engine."""
        self._generator, self._infer = generator, infer
        rows, label = np.arange(len(images)), None
        if conditions is not None:
            label = np.array([np.bincount(conditions).argmax()])
            rows = np.flatnonzero(conditions == label)
        self._real_spread = spread(images[some_of(rows)])
        self._inputs = sample_inputs(
            generator, NUM_SPREAD_FAKES, seed=config.seed, stream=Stream.SNAPSHOTS, like_labels=label
        )
        if conditions is not None and config.recipe.num_groups:
            self._inputs.latents[:, 0] = group_latents(conditions, config.recipe.num_groups)[label]

    def run(self, history: np.ndarray, warnings: list[str], *, stop_on_collapse: bool) -> None:
        """Log each new sign of collapse and append it to `warnings`; with stop_on_collapse, raise a TrainingError."""
        fakes = np.asarray(self._infer(self._generator, self._inputs.arrays))
        for title, sentence in find_collapse(fakes, self._real_spread, history):
            if not any(warning.startswith(title) for warning in warnings):
                warnings.append(sentence)
                log.warning(sentence)
            if stop_on_collapse:
                raise TrainingError(
                    f"{sentence}\nTraining was stopped, as --stop-on-collapse asks. Without this option it would "
                    "continue; another seed or recipe may do better."
                )


def refuse_earlier_collapse(warnings: Sequence[str]) -> None:
    """Raise a TrainingError if a checkpoint has warnings of collapse: of a process without stop_on_collapse."""
    if warnings:
        raise TrainingError(
            f"{warnings[0]}\nThe training had this sign of collapse before it was interrupted, and --stop-on-collapse "
            "refuses it. Without this option it continues; another seed or recipe may do better."
        )


def find_collapse(fakes: np.ndarray, real_spread: float, history: np.ndarray) -> Iterator[tuple[str, str]]:
    """Find signs of collapse: nearly equal images, a saturated discriminator, or very large losses, for a long time.

    `fakes` are generated images from different latents, float (n, 28, 28, 1), n > 1; `real_spread` is the `spread` of
    real images; `history` has the rows of all finished steps, float32 (steps_done, 3).

    Yields:
        Title, and a sentence with the figures.
    """
    steps_done = len(history)
    if steps_done < MIN_STEPS:
        return
    fake_spread = spread(fakes)
    if fake_spread < MIN_RELATIVE_SPREAD * real_spread:
        yield (
            "Mode collapse",
            f"Mode collapse after {steps_done:,} steps: the generated images differ from each other "
            f"{fake_spread / real_spread:.1%} as much as real ones do (threshold: {MIN_RELATIVE_SPREAD:.0%}).",
        )
    accuracy = float(history[-CERTAIN_STEPS:, HISTORY_COLUMNS.index("d_accuracy")].mean())
    if accuracy >= CERTAIN_ACCURACY:
        yield (
            "Saturated discriminator",
            f"Saturated discriminator after {steps_done:,} steps: its accuracy over the last {CERTAIN_STEPS} "
            f"steps is {accuracy:.2%} (threshold: {CERTAIN_ACCURACY:.1%}); the generator learns little from it.",
        )
    losses = [HISTORY_COLUMNS.index(name) for name in ("d_loss", "g_loss")]
    loss = float(np.median(np.abs(history[-CERTAIN_STEPS:, losses]).max(axis=1)))
    if loss > MAX_LOSS:
        yield (
            "Divergence",
            f"Divergence after {steps_done:,} steps: the larger loss of the last {CERTAIN_STEPS} steps has a median of "
            f"{loss:.3g} (threshold: {MAX_LOSS}); the learning rate may be too high.",
        )


def some_of(rows: np.ndarray) -> np.ndarray:
    """Return at most NUM_SPREAD_IMAGES rows, int (n,), evenly spaced, because images may be sorted by class."""
    return np.asarray(rows[np.linspace(0, len(rows) - 1, min(len(rows), NUM_SPREAD_IMAGES)).astype(int)])


def spread(images: np.ndarray) -> float:
    """Return the standard deviation of each pixel over images, float (n, 28, 28, 1), n > 1, averaged over pixels."""
    return float(images.std(axis=0).mean())
