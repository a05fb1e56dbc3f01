"""The real-vs-fake report: one self-contained page for people, and its digest in markdown."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gan.judging import Metric

REAL_COLOR, FAKE_COLOR = "#2a7ab8", "#c8553d"
POINTS_IN_A_CURVE = 400

Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Report:
    """What a report shows; the templates beside this file say how."""

    title: str
    subtitle: str
    metrics: Sequence[Metric]
    warnings: Sequence[str]
    settings: Rows
    provenance: Rows
    timings: Rows
    pictures: Mapping[str, Path]  # by name in the templates
    grids: Sequence[tuple[str, Path]]  # caption and picture of each snapshot

    @property
    def verdict(self) -> str:
        """The numbers that matter, in one sentence."""
        distance = next(metric for metric in self.metrics if metric.name == "frechet_distance")
        return (
            f"On {distance.extractor} features the generated images are at a Fréchet distance of "
            f"{describe_number(distance.value)} from {distance.n:,} test images, with averaged weights "
            f"{describe_number(distance.average)}; real training images are at {describe_number(distance.floor)}."
        )


def render_html(report: Report) -> str:
    """The page: every picture inside it, no request to anywhere."""
    return _HTML.render(report=report)


def render_markdown(report: Report) -> str:
    """The digest, for terminals, pull requests and the orchestrator's pages; no pictures."""
    return _MARKDOWN.render(report=report)


def data_uri(path: Path) -> str:
    """A picture as an address that needs no server."""
    kind = {".png": "png", ".webp": "webp"}[path.suffix]
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def describe_number(value: float) -> str:
    """Three significant digits, thousands separated."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def describe_seconds(seconds: float) -> str:
    """A duration as people say it."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


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


def _templates() -> tuple[Template, Template]:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(("html", "html.jinja")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data_uri": data_uri, "number": describe_number}
    return environment.get_template("report.html.jinja"), environment.get_template("report.md.jinja")


_HTML, _MARKDOWN = _templates()  # read with this module, so that an edit during a run does not mix with it
