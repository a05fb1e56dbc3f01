"""Charts of a report."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

REAL_COLOR, FAKE_COLOR = "#2a7ab8", "#c8553d"
POINTS_IN_A_CURVE = 400


def draw_curves(history: np.ndarray) -> bytes:
    """Losses and discriminator accuracy over training.

    A line is the mean over a few steps, the band around it their 10th to 90th percentile.

    Args:
        history: float, shape (steps, 3): d_loss, d_accuracy, g_loss.

    Returns:
        A PNG; equal histories give equal bytes.
    """
    figure = Figure(figsize=(10, 3.6), layout="constrained", dpi=150)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    chunks = np.array_split(np.arange(len(history)), min(POINTS_IN_A_CURVE, len(history)))
    steps = np.array([chunk.mean() for chunk in chunks])
    d_loss, d_accuracy, g_loss = history.T
    _draw_curve(loss_axes, steps, d_loss, chunks, "discriminator", REAL_COLOR)
    _draw_curve(loss_axes, steps, g_loss, chunks, "generator", FAKE_COLOR)
    loss_axes.set(title="Loss", xlabel="step", ylim=(0, None))
    loss_axes.legend(frameon=False)
    _draw_curve(accuracy_axes, steps, d_accuracy, chunks, "discriminator", REAL_COLOR)
    accuracy_axes.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    accuracy_axes.annotate("guessing", (0, 0.5), (4, 4), textcoords="offset points", color="grey", fontsize=8)
    accuracy_axes.set(title="Discriminator accuracy", xlabel="step", ylim=(0, 1))
    for axes in (loss_axes, accuracy_axes):
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
        axes.margins(x=0.01)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_curve(
    axes: Axes, steps: np.ndarray, values: np.ndarray, chunks: Sequence[np.ndarray], label: str, color: str
) -> None:
    mean = [values[chunk].mean() for chunk in chunks]
    low, high = np.transpose([np.percentile(values[chunk], (10, 90)) for chunk in chunks])
    axes.fill_between(steps, low, high, color=color, alpha=0.18, linewidth=0)
    axes.plot(steps, mean, color=color, linewidth=1.4, label=label)
