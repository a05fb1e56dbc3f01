"""What stops a training, and what is worth a warning: numbers that are not finite, and collapse."""

from collections.abc import Iterator
from dataclasses import fields

import numpy as np

from gan.errors import TrainingError
from gan.models.networks import Networks
from gan.training.history import HISTORY_COLUMNS

CHECK_EVERY = 200
"""Steps between two looks for collapse; a multiple of the steps that are run in one call."""

MIN_STEPS = 500
"""An untrained generator gives nearly equal images, and its discriminator is soon certain: no collapse before this."""

MIN_RELATIVE_SPREAD = 0.05
CERTAIN_ACCURACY, CERTAIN_STEPS = 0.995, 500


def refuse_non_finite_losses(rows: np.ndarray, first_step: int, networks: Networks) -> None:
    """Stop at the first step with a loss that is not finite, and say which, and which weights.

    Weights that an update has spoiled show in the losses of the next step.

    Args:
        rows: float32, shape (n, 3), of finished steps.
        first_step: The step of the first row.
        networks: As they are after the last row.

    Raises:
        TrainingError: Names the step and the quantities.
    """
    if np.isfinite(rows).all():
        return
    index = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
    values = ", ".join(
        f"{name} ({'not a number' if np.isnan(value) else 'infinite'})"
        for name, value in zip(HISTORY_COLUMNS, rows[index], strict=True)
        if not np.isfinite(value)
    )
    weights = _non_finite_weights(networks)
    raise _not_finite(first_step + index, f"{values}{f'; {weights}' if weights else ''}")


def refuse_non_finite_weights(networks: Networks, steps_done: int) -> None:
    """Stop if any weight, average or moment is not finite, so that it is never saved, drawn or published.

    Raises:
        TrainingError: Names the step and the weight.
    """
    weights = _non_finite_weights(networks)
    if weights:
        raise _not_finite(steps_done - 1, weights)


def refuse_non_finite_images(fakes: np.ndarray, networks: Networks, steps_done: int) -> None:
    """Stop if any pixel that the generator draws is not finite: its weights are not, or are too large for float32.

    Raises:
        TrainingError: Names the step, and the weight if it is one.
    """
    if not np.isfinite(fakes).all():
        raise _not_finite(steps_done - 1, _non_finite_weights(networks) or "generated images")


def _non_finite_weights(networks: Networks) -> str | None:
    for part in fields(networks):
        for variable in getattr(networks, part.name).variables:
            if not np.isfinite(variable.numpy()).all():
                return f"{part.name}/{variable.path.partition('/')[2]}"
    return None


def _not_finite(step: int, what: str) -> TrainingError:
    return TrainingError(
        f"Training stopped at step {step:,}: not finite: {what}.\n"
        "The same settings would fail at the same step again, so there is no retry, and the last checkpoint before it "
        "is kept. Choose another --seed, or a lower step size (--set learning_rate=...)."
    )


def find_collapse(fakes: np.ndarray, real_spread: float, history: np.ndarray) -> Iterator[tuple[str, str]]:
    """Signs of collapse: nearly equal images, or a discriminator that has been certain for long.

    Args:
        fakes: Images of different latents, float, shape (n, 28, 28, 1), n > 1.
        real_spread: `spread` of real images.
        history: float32, shape (steps_done, 3), HISTORY_COLUMNS.

    Yields:
        Kind and sentence with the figures; nothing in a training that does well.
    """
    steps_done = len(history)
    if steps_done < MIN_STEPS:
        return
    fake_spread = spread(fakes)
    if fake_spread < MIN_RELATIVE_SPREAD * real_spread:
        yield (
            "Mode collapse",
            f"Mode collapse after {steps_done:,} steps: the generated images differ from each other "
            f"{fake_spread / real_spread:.1%} as much as real ones do (warned of below {MIN_RELATIVE_SPREAD:.0%}).",
        )
    accuracy = float(history[-CERTAIN_STEPS:, HISTORY_COLUMNS.index("d_accuracy")].mean())
    if accuracy >= CERTAIN_ACCURACY:
        yield (
            "Certain discriminator",
            f"Certain discriminator after {steps_done:,} steps: its accuracy over the last {CERTAIN_STEPS} "
            f"steps is {accuracy:.2%} (warned of from {CERTAIN_ACCURACY:.1%}); the generator learns little from it.",
        )


def spread(images: np.ndarray) -> float:
    """How much images differ: the standard deviation of each pixel over the images, averaged over the pixels.

    Args:
        images: float, shape (n, 28, 28, 1), n > 1.
    """
    return float(images.std(axis=0).mean())
