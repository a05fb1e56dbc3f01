"""The leaderboard of a sweep: the metrics of every training configuration over its seeds, as HTML and as CSV."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import log
from pathlib import Path
from statistics import fmean, stdev

from gan.formatting import describe_deviation, describe_setting, describe_value
from gan.judging.definitions import SHARES
from gan.judging.measured import NOT_FINITE, finite_or_none, rounded
from gan.report.templates import render_page
from gan.runs.manifest import AVERAGE_GENERATOR, read_manifest
from gan.runs.publish import METRICS_FILE

MEASURES = ("frechet_distance", "recall", "coverage", "precision", "two_sample_accuracy", "near_copies")
"""Metrics of the averaged weights, which the gate also uses; rows are sorted by the first."""

AVERAGE_GRID = "average_grid.png"
MIN_SEEDS = 3  # with fewer seeds, a mean is not meaningful


@dataclass(frozen=True)
class Result:
    """A published run of a sweep."""

    variant: str  # recipe, and the hyperparameters that were changed
    seed: int
    run: str
    folder: Path
    values: dict[str, float | None]  # by name of MEASURES; None if not defined
    titles: dict[str, str]  # of the metrics, by name
    n: int
    extractor: str
    generator: str  # SHA-256 of the averaged generator
    seconds: float | None  # of training
    undefined: dict[str, str] = field(default_factory=dict)  # reasons why a metric is not defined, by name
    data_warnings: tuple[str, ...] = ()
    floor: float | None = None  # the Fréchet distance of real images

    @property
    def distance(self) -> float | None:
        """Fréchet distance, by which runs are ranked."""
        return self.values[MEASURES[0]]


@dataclass(frozen=True)
class Failure:
    """A training that failed."""

    variant: str
    seed: int
    reason: str

    @property
    def described(self) -> str:
        """Configuration, seed and reason in one line."""
        return f"{self.variant}, seed {self.seed}: {self.reason}"


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds; not defined unless the value of every seed is."""

    mean: float | None
    deviation: float | None  # None for a single seed
    undefined: str = ""  # the reason if the mean is None
    is_share: bool = False

    @property
    def described_mean(self) -> str:
        """The mean as text."""
        return describe_value(self.mean, is_share=self.is_share)

    @property
    def described_deviation(self) -> str:
        """The standard deviation as text; empty if there is none."""
        if self.deviation is None:
            return ""
        return f"{describe_deviation(100 * self.deviation)} %" if self.is_share else describe_deviation(self.deviation)

    @property
    def described(self) -> str:
        """Mean and standard deviation as text."""
        return f"{self.described_mean} {self.described_deviation}".rstrip()


@dataclass(frozen=True)
class Row:
    """A training configuration, over its seeds."""

    variant: str
    seeds: tuple[int, ...]
    num_failed: int
    measures: dict[str, Spread]
    seconds: Spread
    best: Result
    results: tuple[Result, ...]  # one for each seed

    @property
    def described_seeds(self) -> str:
        """The seeds, and the number of failed ones."""
        failed = f"; {self.num_failed} failed" if self.num_failed else ""
        return f"{', '.join(map(str, self.seeds))}{failed}"


@dataclass(frozen=True)
class Leaderboard:
    """The content of the leaderboard page."""

    title: str
    rows: Sequence[Row]
    failures: Sequence[Failure]
    gate: Sequence[str] = ()  # decisions of the gate on the best runs
    command: str = ""  # which makes this leaderboard again

    def place(self, distance: float | None) -> float | None:
        """Return where a Fréchet distance is on a logarithmic scale of all of this page, 0 to 100; None for none."""
        found = [result.distance for row in self.rows for result in row.results] + [self.floor]
        known = [value for value in found if value is not None and value > 0]
        if distance is None or distance <= 0 or min(known) == max(known):
            return None
        return 100 * log(distance / min(known)) / log(max(known) / min(known))

    @property
    def floor(self) -> float | None:
        """Fréchet distance of real images."""
        return self.rows[0].best.floor if self.rows else None

    @property
    def measures(self) -> list[tuple[str, str]]:
        """Names and titles of the metrics that are columns."""
        return list(self.rows[0].best.titles.items()) if self.rows else []

    @property
    def described(self) -> str:
        """Number of images and features that the metrics are computed on."""
        best = self.rows[0].best
        return f"{best.n:,} real and as many generated images, {best.extractor} features (not an FID)"

    @property
    def data_warnings(self) -> tuple[str, ...]:
        """Warnings about the data, each once, since all runs use the same data."""
        return tuple(dict.fromkeys(warning for row in self.rows for warning in row.best.data_warnings))

    @property
    def winner(self) -> Result | None:
        """The best run of the best configuration; None if no training succeeded."""
        return self.rows[0].best if self.rows else None


def read_result(variant: str, seed: int, folder: Path) -> Result:
    """Read the metrics of the published run in a folder, which has this configuration and seed."""
    content = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    metrics = {name: content["metrics"][name] for name in MEASURES}
    values = {name: finite_or_none(metric["average"]) for name, metric in metrics.items()}
    missing = [name for name, value in values.items() if value is None]
    first = metrics[MEASURES[0]]
    return Result(
        variant=variant,
        seed=seed,
        run=folder.name,
        folder=folder,
        values=values,
        undefined={name: metrics[name].get("undefined", {}).get("average", NOT_FINITE) for name in missing},
        titles={name: metric["title"] for name, metric in metrics.items()},
        n=first["n"],
        extractor=first["extractor"],
        generator=read_manifest(folder).sha256(AVERAGE_GENERATOR) or "",
        seconds=finite_or_none(content["training"]["training_seconds"]),
        data_warnings=tuple(content["data_warnings"]),
        floor=finite_or_none(first["floor"]),
    )


def rank(title: str, results: Sequence[Result], failures: Sequence[Failure]) -> Leaderboard:
    """Rank the configurations of published runs by their mean over seeds; those with failed seeds come last."""
    rows = []
    for variant in dict.fromkeys(result.variant for result in results):
        of_variant = sorted((result for result in results if result.variant == variant), key=lambda result: result.seed)
        rows.append(
            Row(
                variant=variant,
                seeds=tuple(result.seed for result in of_variant),
                num_failed=sum(failure.variant == variant for failure in failures),
                measures={name: _spread_of(name, of_variant) for name in MEASURES},
                seconds=_spread([result.seconds for result in of_variant]),
                best=min(of_variant, key=lambda result: _undefined_last(result.distance)),
                results=tuple(of_variant),
            )
        )
    rows.sort(key=lambda row: (row.num_failed > 0, _undefined_last(row.measures[MEASURES[0]].mean)))
    return Leaderboard(title, rows, failures)


def _undefined_last(value: float | None) -> tuple[bool, float]:
    return value is None, value or 0.0


def _spread_of(name: str, results: Sequence[Result]) -> Spread:
    reasons = dict.fromkeys(result.undefined[name] for result in results if name in result.undefined)
    spread = _spread([result.values[name] for result in results], "; ".join(reasons))
    return replace(spread, is_share=name in SHARES)


def _spread(values: Sequence[float | None], reason: str = NOT_FINITE) -> Spread:
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return Spread(None, None, reason)
    return Spread(rounded(fmean(defined)), rounded(stdev(defined)) if len(defined) > 1 else None)


def as_csv(board: Leaderboard) -> str:
    """Return the leaderboard as CSV: mean and deviation of every metric, seconds of training, and the best run.

    The cell of a number that is not defined is empty; the column `reason` says why. A failed training has a reason too.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = [f"{name}_{what}" for name in (*MEASURES, "training_seconds") for what in ("mean", "deviation")]
    writer.writerow(["rank", "variant", "seeds", "failed", *columns, "best_run", "n", "features", "reason"])
    for number, row in enumerate(board.rows, 1):
        spreads = (*row.measures.values(), row.seconds)
        cells = [value for spread in spreads for value in (spread.mean, spread.deviation)]
        seeds = " ".join(map(str, row.seeds))
        numbers = ("" if cell is None else describe_setting(cell) for cell in cells)
        reason = "; ".join(f"{name}: {spread.undefined}" for name, spread in row.measures.items() if spread.undefined)
        best = (row.best.run, row.best.n, row.best.extractor, reason)
        writer.writerow([number, row.variant, seeds, row.num_failed, *numbers, *best])
    for failure in board.failures:
        empty = [""] * (len(columns) + 3)
        writer.writerow(["failed", failure.variant, failure.seed, 1, *empty, failure.reason])
    return file.getvalue()


def as_html(board: Leaderboard) -> str:
    """Return the page: numbers, and for every configuration the image grid of its best run and a link to its report."""
    return render_page("leaderboard.html.jinja", [], board=board, grid=AVERAGE_GRID)
