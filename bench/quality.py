"""Plot the quality of each recipe against the seconds of training (make quality).

This reads the published runs of whole trainings with any seeds. `make quality` first trains what is missing.
"""

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
from cyclopts import Parameter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import ValidationError
from rich import box
from rich.table import Table

from gan.command import check_output, new_app, output_file, print_table, run_command, terminal
from gan.config import DEFAULT_OUTPUT_DIR
from gan.errors import SettingsError
from gan.formatting import NOT_DEFINED, describe_number, describe_seconds
from gan.option_values import parse_seeds
from gan.recipe import Recipe
from gan.recipes import RECIPES
from gan.report.charts import INK, as_png, chart_style
from gan.report.history_file import QUALITY_COLUMNS
from gan.report.leaderboard import MIN_SEEDS, Spread
from gan.runs.catalog import read_catalog
from gan.runs.publish import CONFIG_FILE, METRICS_FILE

COLORS = ("#c8553d", "#2a7ab8", "#2e7d4f", "#a8840f", "#7b4fa3", "#3f8f8b")


@dataclass(frozen=True)
class Curve:
    """Quality during a whole training of a recipe."""

    recipe: str
    seed: int
    seconds: np.ndarray  # float64 (k,), training time until each snapshot, scaled to the recipe's fastest training
    quality: np.ndarray  # float64 (k, 2), QUALITY_COLUMNS for the last weights at each snapshot
    total_seconds: float
    average: dict[str, float]  # quality of the final averaged weights, on more images than a snapshot has
    floor: dict[str, float]
    n: int
    extractor: str
    device: str
    snapshots_of: str  # describes the images and features that the quality is computed from

    @property
    def measure(self) -> tuple[int, str, str]:
        """Number of images, extractor and device, which must be equal in curves that are compared."""
        return self.n, self.extractor, self.device


def read_curves(root: Path, seeds: Collection[int] | None = None) -> tuple[list[Curve], int]:
    """Read the comparable published runs with unchanged recipes, sorted by recipe and seed.

    These are runs on Fashion-MNIST that are not broken, the newest for each recipe and seed, that share the most common
    device, number of images and features. CPUs are not distinguished, so all runs should come from one machine.

    Args:
        root: The output folder.
        seeds: Runs with other seeds are left out; None: all seeds.

    Returns:
        The curves, and how many other whole trainings of these recipes and seeds there are.
    """
    found: list[Curve] = []
    num_broken = 0
    for entry in read_catalog(root):
        folder = root / "runs" / entry.name
        content = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        train = content["train"]
        name = train["recipe"]["name"]
        card = RECIPES.get(name)
        if card is None or content.get("data") or _card(train["recipe"]) != card:
            continue
        is_whole = (train["steps"], train["batch_size"]) == (card.steps, card.batch_size)
        if not is_whole or (seeds is not None and train["seed"] not in seeds):
            continue
        if entry.is_broken:
            num_broken += 1
        else:
            found.append(_read_curve(folder, name, train["seed"], train["steps"]))
    measures = Counter(curve.measure for curve in found).most_common(1)
    curves = {(curve.recipe, curve.seed): curve for curve in found if curve.measure == measures[0][0]}
    order: list[str] = list(RECIPES)
    scaled = (_scale_to_fastest(curve, curves.values()) for curve in curves.values())
    num_left_out = num_broken + len(found) - len(curves)
    return sorted(scaled, key=lambda curve: (order.index(curve.recipe), curve.seed)), num_left_out


def _scale_to_fastest(curve: Curve, curves: Iterable[Curve]) -> Curve:
    """Scale the times to the recipe's fastest training: the others did the same work under other load."""
    fastest = min(other.total_seconds for other in curves if other.recipe == curve.recipe)
    return replace(curve, seconds=curve.seconds * (fastest / curve.total_seconds), total_seconds=fastest)


def _card(content: dict[str, Any]) -> Recipe | None:
    """Read a recipe from a run's config; None if it has other fields than today's recipes."""
    try:
        return Recipe.model_validate(content)
    except ValidationError:
        return None


def _read_curve(folder: Path, recipe: str, seed: int, steps: int) -> Curve:
    content = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row[QUALITY_COLUMNS[0]]]
    total = content["training"]["training_seconds"]
    metrics = {name: content["metrics"][name] for name in QUALITY_COLUMNS}
    return Curve(
        recipe=recipe,
        seed=seed,
        seconds=np.array([(int(row["step"]) + 1) / steps * total for row in rows]),
        quality=np.array([[float(row[name] or nan) for name in QUALITY_COLUMNS] for row in rows]),
        total_seconds=total,
        average={name: _number(metric["average"]) for name, metric in metrics.items()},
        floor={name: _number(metric["floor"]) for name, metric in metrics.items()},
        n=metrics[QUALITY_COLUMNS[0]]["n"],
        extractor=metrics[QUALITY_COLUMNS[0]]["extractor"],
        device=content["training"].get("device", ""),
        snapshots_of=content["history_quality"],
    )


def _number(value: float | None) -> float:
    """Replace null by NaN, which is not drawn and is printed as not defined."""
    return nan if value is None else value


def draw(curves: Sequence[Curve]) -> Figure:
    """Plot Fréchet distance and recall against seconds of training: lines for last weights, stars for averaged ones."""
    with chart_style():
        figure = Figure(figsize=(9, 4), layout="constrained")
        for column, (axes, title) in enumerate(
            zip(figure.subplots(1, 2), ("Fréchet distance, low is good", "Recall, high is good"), strict=True)
        ):
            _draw_panel(axes, curves, column)
            axes.set(title=title, xlabel="seconds of training")
        figure.axes[0].set_yscale("log")
        figure.axes[0].yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: describe_number(value)))
        figure.axes[1].set_ylim(0, 1)
        figure.axes[1].legend(loc="lower right")
        figure.supxlabel(
            f"Lines: last weights at each snapshot, {curves[0].snapshots_of}.\nStars: final averaged weights, "
            f"{curves[0].n:,} images. Dotted: real images.",
            fontsize=8,
        )
    return figure


def _draw_panel(axes: Axes, curves: Sequence[Curve], column: int) -> None:
    name = QUALITY_COLUMNS[column]
    colors: dict[str, str] = dict(zip(RECIPES, COLORS, strict=False))
    labelled: set[str] = set()
    for curve in curves:
        color = colors[curve.recipe]
        label = curve.recipe if curve.recipe not in labelled else None
        labelled.add(curve.recipe)
        axes.plot(curve.seconds[1:], curve.quality[1:, column], color=color, linewidth=1.2, label=label)
        axes.plot([curve.total_seconds], [curve.average[name]], "*", color=color, markersize=12)
    axes.axhline(curves[0].floor[name], color=INK, linewidth=0.8, linestyle=":")


app = new_app("bench.quality", "Plot the quality of each recipe against the seconds of training.")


@app.default
def main(
    *,
    output_dir: Annotated[Path, Parameter(help="the output folder with the runs")] = DEFAULT_OUTPUT_DIR,
    seeds: Annotated[str | None, Parameter(help="only these, as in 0-2 or 0,3; all by default")] = None,
    out: Annotated[Path, Parameter(help="the picture")] = Path("docs/images/quality.png"),
) -> None:
    """Plot all whole trainings of unchanged recipes in an output folder, and print the numbers."""
    check_output(out, ".png")
    chosen = None if seeds is None else parse_seeds(seeds, most=1000)
    curves, num_left_out = read_curves(output_dir, chosen)
    if not curves:
        raise SettingsError(
            f"{output_dir} has no run of a recipe with the steps and batch size of its card"
            f"{'' if seeds is None else f' and the seeds {seeds}'}, or all are broken ({num_left_out}).\n"
            "Create them with: make quality"
        )
    with output_file(out) as partial:
        partial.write_bytes(as_png(draw(curves)))
    table = Table(box=box.SIMPLE)
    for heading in ("Recipe", "Seeds", "Training", "Fréchet distance, averaged", "Recall, averaged"):
        table.add_column(heading, justify="left" if heading == "Recipe" else "right")
    for recipe in RECIPES:
        of_recipe = [curve for curve in curves if curve.recipe == recipe]
        if of_recipe:
            table.add_row(
                recipe,
                ", ".join(str(curve.seed) for curve in of_recipe),
                describe_seconds(of_recipe[0].total_seconds),
                *(_described([curve.average[name] for curve in of_recipe]) for name in QUALITY_COLUMNS),
            )
    console = terminal()
    print_table(console, table)
    console.print(
        "Mean ± standard deviation over seeds, time of the fastest training; "
        f"n = {curves[0].n:,}, {curves[0].extractor} features (not an FID)",
    )
    if num_left_out:
        console.print(f"Left out: {num_left_out} runs that are broken, older, or of another device or measure.")
    console.print(f"Picture   {out}")


def _described(values: Sequence[float]) -> str:
    if not all(map(isfinite, values)):
        return NOT_DEFINED
    spread = Spread(fmean(values), stdev(values) if len(values) > 1 else None)
    return f"{spread.described}{'' if len(values) >= MIN_SEEDS else ' (few seeds)'}"


if __name__ == "__main__":
    run_command(app)
