"""Charts of a report, as PNG files and as SVG that uses the colours of the page."""

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from gan.formatting import describe_number, describe_share

REAL_COLOR, FAKE_COLOR = "#2a7ab8", "#c8553d"
SETS = {"real": REAL_COLOR, "last weights": FAKE_COLOR, "averaged weights": "#a8840f"}
"""The sets of images in a chart and their colours: test images, and the images of both generators."""

POINTS_IN_A_CURVE, LONGEST_NAME = 400, 24
INK = "#0a0b0c"
"""Colour of axes and text; in SVG it becomes the colour of the surrounding text."""

STYLE: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    "svg.fonttype": "none",
    "font.size": 10,
}


@contextmanager
def chart_style(more: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Use matplotlib's defaults, STYLE and `more`, whatever the user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE | dict(more or {}))
        yield


@chart_style()
def draw_losses(history: np.ndarray) -> Figure:
    """Draw losses and discriminator accuracy by step, from float values of shape (steps, 3), HISTORY_COLUMNS.

    A line is the mean over a few steps; the band around it spans their 10th to 90th percentile.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    chunks = np.array_split(np.arange(len(history)), min(POINTS_IN_A_CURVE, len(history)))
    d_loss, d_accuracy, g_loss = history.T
    _draw_curve(loss_axes, d_loss, chunks, "discriminator", REAL_COLOR)
    _draw_curve(loss_axes, g_loss, chunks, "generator", FAKE_COLOR)
    loss_axes.set(title="Loss", xlabel="step", ylim=(0, None))
    loss_axes.legend()
    _draw_curve(accuracy_axes, d_accuracy, chunks, "discriminator", REAL_COLOR)
    accuracy_axes.axhline(0.5, color=INK, linewidth=0.8, linestyle=":")
    accuracy_axes.annotate("guessing", (0, 0.5), (4, 4), textcoords="offset points", fontsize=8)
    accuracy_axes.set(title="Discriminator accuracy", xlabel="step", ylim=(0, 1))
    for axes in (loss_axes, accuracy_axes):
        _label_steps(axes)
    return figure


@chart_style()
def draw_quality(
    steps: Sequence[int], quality: np.ndarray, described: str, average_quality: np.ndarray | None = None
) -> Figure:
    """Draw Fréchet distance and recall at every snapshot, and mark the best value of the last weights in each.

    In the SVG the marks of snapshot i are the groups "point-i" and "recall-i", for the page's script.

    Args:
        steps: Steps of the snapshots.
        quality: float, shape (num_snapshots, 2), QUALITY_COLUMNS; the curve has a gap where a value is not finite.
        described: Text below the chart: number of images and name of the features.
        average_quality: The same as `quality` of the averaged weights; a snapshot without these has nan.
    """
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    distance_axes, recall_axes = figure.subplots(1, 2)
    averages = np.full((len(steps), 2), np.nan) if average_quality is None else average_quality
    distances, recalls = quality[:, 0], 100 * quality[:, 1]
    lowest, highest = index_of_lowest(distances), index_of_lowest(-recalls)
    _draw_points(distance_axes, steps, distances, lowest, FAKE_COLOR, "point")
    _draw_points(recall_axes, steps, recalls, highest, REAL_COLOR, "recall")
    _draw_averages(distance_axes, steps, averages[:, 0])
    _draw_averages(recall_axes, steps, 100 * averages[:, 1])
    best_distance = f"best: {describe_number(float(distances[lowest]))} at step {steps[lowest]:,}"
    best_recall = f"best: {describe_share(float(quality[highest, 1]))} at step {steps[highest]:,}"
    distance_axes.set(title=f"Fréchet distance, low is good\n{best_distance}", xlabel="step")
    top = max(5, 1.25 * np.fmax(recalls[highest], 100 * np.fmax.reduce(averages[:, 1])))
    recall_axes.set(title=f"Recall, high is good\n{best_recall}", xlabel="step", ylabel="%", ylim=(0, top))
    figure.supxlabel(described, fontsize=8)
    defined = np.concatenate([distances, averages[:, 0]])
    defined = defined[np.isfinite(defined)]
    if len(defined) and defined.max() > 10 * defined.min() > 0:
        distance_axes.set_yscale("log")
    if not len(defined):
        distance_axes.annotate("not defined at any snapshot", (0.5, 0.5), xycoords="axes fraction", ha="center")
    _label_numbers(distance_axes)
    for axes in (distance_axes, recall_axes):
        _label_steps(axes)
    return figure


def index_of_lowest(values: np.ndarray) -> int:
    """Return the index of the lowest value, of float values of shape (n,); values that are not finite count as high."""
    return int(np.where(np.isfinite(values), values, np.inf).argmin())


@chart_style()
def draw_class_balance(names: Sequence[str], shares: np.ndarray) -> Figure:
    """Draw the share of each predicted class.

    Args:
        names: Class names by label.
        shares: float, shape (3, num_classes), 0 to 1: shares of the images of each of SETS.
    """
    figure = Figure(figsize=(6, 0.9 + 0.42 * len(names)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(names))
    for offset, values, (label, color) in zip((-0.28, 0, 0.28), shares, SETS.items(), strict=True):
        axes.barh(places + offset, 100 * values, height=0.26, color=color, label=label)
    axes.set(xlabel="share of the images, %")
    axes.set_yticks(places, [_shorten(name) for name in names])
    axes.invert_yaxis()
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return figure


@chart_style()
def draw_intensities(histograms: Sequence[np.ndarray]) -> Figure:
    """Draw histograms of grey levels in bins of 16 levels.

    Args:
        histograms: float, shape (3, 256): shares of the pixels, a row for each of SETS.
    """
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    edges = np.arange(0, 257, 16)
    for histogram, (label, color) in zip(histograms, SETS.items(), strict=True):
        shares = 100 * histogram.reshape(16, 16).sum(axis=1)
        axes.stairs(shares, edges, color=color, linewidth=1.6, label=label)
    axes.set(xlabel="grey level, 0 black to 255 white", ylabel="share of the pixels, %", yscale="log", xlim=(0, 256))
    _label_numbers(axes)
    axes.legend(loc="upper right")
    return figure


def as_png(figure: Figure) -> bytes:
    """Return a PNG with a white background; equal charts give equal bytes."""
    buffer = io.BytesIO()
    with chart_style():
        figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def as_svg(figure: Figure, name: str) -> Markup:
    """Return a transparent SVG element, as wide as its container, with axes and text in the page's text colour.

    `name` is unique in the page; all ids in the SVG start with it.
    """
    buffer = io.StringIO()
    with chart_style({"svg.hashsalt": name}), warnings.catch_warnings():
        # the browser draws the text, with its own fonts
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="presentation">', svg, count=1)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(INK, "currentColor")
    return Markup(re.sub(r"\n\s*", "\n", svg))


def _draw_curve(axes: Axes, values: np.ndarray, chunks: Sequence[np.ndarray], label: str, color: str) -> None:
    steps = np.array([chunk.mean() for chunk in chunks])
    mean = [values[chunk].mean() for chunk in chunks]
    low, high = np.transpose([np.percentile(values[chunk], (10, 90)) for chunk in chunks])
    axes.fill_between(steps, low, high, color=color, alpha=0.18, linewidth=0)
    axes.plot(steps, mean, color=color, linewidth=1.4, label=label)


def _draw_points(axes: Axes, steps: Sequence[int], values: np.ndarray, best: int, color: str, gid: str) -> None:
    axes.plot(steps, values, color=color, linewidth=1.4, label="last weights")
    for index, (step, value) in enumerate(zip(steps, values, strict=True)):
        axes.plot([step], [value], "o", color=color, markersize=5, gid=f"{gid}-{index}")
    (ring,) = axes.plot([steps[best]], [values[best]], "o", markersize=11, markerfacecolor="none", color=color)
    ring.set_gid(f"best-{gid}")


def _draw_averages(axes: Axes, steps: Sequence[int], values: np.ndarray) -> None:
    """Draw the values of the averaged weights with a legend, unless no snapshot has any.

    They are below the marks of the last weights, which the page's script watches.
    """
    taken = np.isfinite(values)
    if taken.any():
        label = "averaged weights"
        style: dict[str, Any] = {"color": SETS[label], "markersize": 4, "zorder": 1.5, "label": label}
        axes.plot(np.array(steps)[taken], values[taken], "s--", **style)
        axes.legend()


def _label_numbers(axes: Axes) -> None:
    """Label the y axis with numbers such as 1,000; a logarithmic axis also at twice and five times a power of ten."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: describe_number(value)))
    if axes.get_yscale() == "log":
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: describe_number(value)))
        axes.tick_params(axis="y", which="minor", labelsize=8)


def _label_steps(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{round(step):,}"))
    axes.margins(x=0.03)


def _shorten(name: str) -> str:
    """Shorten a name, and escape dollar signs, which would start a formula."""
    short = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    return short.replace("$", r"\$")
