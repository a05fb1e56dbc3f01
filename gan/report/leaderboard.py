"""A leaderboard of many trainings: what each way to train reaches, over seeds, as a page and as CSV."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from gan.formatting import describe_mean, describe_setting
from gan.judging.measured import NOT_FINITE, rounded
from gan.report.page import render_page
from gan.runs.manifest import AVERAGE_GENERATOR, read_manifest
from gan.runs.publish import METRICS

MEASURES = ("frechet_distance", "recall", "coverage", "precision", "two_sample_accuracy", "near_copies")
"""Of the averaged weights, as the gate looks at them; rows are in the order of the first."""

AVERAGE_GRID = "average_grid.png"

MIN_SEEDS = 3
"""Of fewer a mean says little."""


@dataclass(frozen=True)
class Result:
    """A published run of a sweep."""

    way: str  # recipe, and what was set otherwise
    seed: int
    run: str
    folder: Path
    values: dict[str, float | None]  # MEASURES; None: not defined
    titles: dict[str, str]
    n: int
    extractor: str
    generator: str  # SHA-256 of the averaged one
    seconds: float | None  # of training
    undefined: dict[str, str] = field(default_factory=dict)  # by measure: why it is not defined
    data_warnings: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from all others of the sweep."""
        return self.way, self.seed


@dataclass(frozen=True)
class Failure:
    """A training that came to nothing."""

    way: str
    seed: int
    reason: str

    @property
    def described(self) -> str:
        """A line for people."""
        return f"{self.way}, seed {self.seed}: {self.reason}"


@dataclass(frozen=True)
class Spread:
    """Of one measure over seeds; not defined unless it is for every seed."""

    mean: float | None
    deviation: float | None  # None of a single seed
    undefined: str = ""  # the reason, if the mean is None

    @property
    def described(self) -> str:
        """Mean and deviation for people."""
        return describe_mean(self.mean, self.deviation)


@dataclass(frozen=True)
class Row:
    """One way to train, over its seeds."""

    way: str
    seeds: tuple[int, ...]
    num_failed: int
    measures: dict[str, Spread]
    seconds: Spread
    best: Result

    @property
    def described_seeds(self) -> str:
        """The seeds, and how many more failed."""
        failed = f"; {self.num_failed} failed" if self.num_failed else ""
        return f"{', '.join(map(str, self.seeds))}{failed}"


@dataclass(frozen=True)
class Leaderboard:
    """What a page shows."""

    title: str
    rows: Sequence[Row]
    failures: Sequence[Failure]
    gate: Sequence[str] = ()  # what it said of the best runs, one sentence or more each

    @property
    def measures(self) -> list[tuple[str, str]]:
        """Names and titles of the columns."""
        titles = self.rows[0].best.titles if self.rows else {}
        return [(name, titles[name]) for name in MEASURES if name in titles]

    @property
    def described(self) -> str:
        """What the numbers are of."""
        best = self.rows[0].best
        return f"{best.n:,} images a side, {best.extractor} features (not an FID)"

    @property
    def data_warnings(self) -> tuple[str, ...]:
        """What looks wrong in the data, which all runs share; each text once."""
        return tuple(dict.fromkeys(warning for row in self.rows for warning in row.best.data_warnings))

    @property
    def winner(self) -> Result | None:
        """The best run of the best way."""
        return self.rows[0].best if self.rows else None


def read_result(way: str, seed: int, folder: Path) -> Result:
    """What a published run was judged.

    Args:
        way: Recipe, and what was set otherwise.
        seed: Of the training.
        folder: The run's.
    """
    content = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    metrics = {name: content["metrics"][name] for name in MEASURES}
    values = {name: _finite(metric["average"]) for name, metric in metrics.items()}
    first = metrics[MEASURES[0]]
    return Result(
        way=way,
        seed=seed,
        run=folder.name,
        folder=folder,
        values=values,
        undefined={name: _reason(metrics[name]) for name, value in values.items() if value is None},
        titles={name: metric["title"] for name, metric in metrics.items()},
        n=first["n"],
        extractor=first["extractor"],
        generator=read_manifest(folder).sha256(AVERAGE_GENERATOR) or "",
        seconds=_finite(content["training"]["training_seconds"]),
        data_warnings=tuple(content.get("data_warnings", ())),
    )


def _finite(value: float | None) -> float | None:
    """A number as it is now: earlier versions wrote NaN and Infinity where there is null."""
    return value if value is not None and isfinite(value) else None


def _reason(metric: Mapping[str, Any]) -> str:
    reason: str = metric.get("undefined", {}).get("average", NOT_FINITE)
    return reason


def rank(title: str, results: Sequence[Result], failures: Sequence[Failure]) -> Leaderboard:
    """Mean and deviation of every way over its seeds, the best first; ways that have failed seeds come last.

    Args:
        title: Of the page.
        results: Runs, in any order.
        failures: Trainings that came to nothing.
    """
    rows = []
    for way in dict.fromkeys(result.way for result in results):
        of_way = sorted((result for result in results if result.way == way), key=lambda result: result.seed)
        rows.append(
            Row(
                way=way,
                seeds=tuple(result.seed for result in of_way),
                num_failed=sum(failure.way == way for failure in failures),
                measures={name: _spread_of(name, of_way) for name in MEASURES},
                seconds=_spread([result.seconds for result in of_way]),
                best=min(of_way, key=lambda result: _undefined_last(result.values[MEASURES[0]])),
            )
        )

    def place(row: Row) -> tuple[bool, tuple[bool, float]]:
        return row.num_failed > 0, _undefined_last(row.measures[MEASURES[0]].mean)

    return Leaderboard(title, sorted(rows, key=place), failures)


def _undefined_last(value: float | None) -> tuple[bool, float]:
    return value is None, value or 0.0


def _spread_of(name: str, results: Sequence[Result]) -> Spread:
    reasons = dict.fromkeys(result.undefined[name] for result in results if name in result.undefined)
    return _spread([result.values[name] for result in results], "; ".join(reasons))


def _spread(values: Sequence[float | None], why: str = NOT_FINITE) -> Spread:
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return Spread(None, None, why)
    return Spread(rounded(fmean(defined)), rounded(stdev(defined)) if len(defined) > 1 else None)


def as_csv(board: Leaderboard) -> str:
    """The rows for a spreadsheet: mean and deviation of every measure, training seconds, the best run.

    A cell is empty where there is no number; the column `reason` says why, as it does of a training that failed.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = [f"{name}_{what}" for name in (*MEASURES, "training_seconds") for what in ("mean", "deviation")]
    writer.writerow(["rank", "way", "seeds", "failed", *columns, "best_run", "n", "features", "reason"])
    for number, row in enumerate(board.rows, 1):
        spreads = (*row.measures.values(), row.seconds)
        cells = [value for spread in spreads for value in (spread.mean, spread.deviation)]
        seeds = " ".join(map(str, row.seeds))
        numbers = ("" if cell is None else describe_setting(cell) for cell in cells)
        reason = "; ".join(f"{name}: {spread.undefined}" for name, spread in row.measures.items() if spread.undefined)
        best = (row.best.run, row.best.n, row.best.extractor, reason)
        writer.writerow([number, row.way, seeds, row.num_failed, *numbers, *best])
    for failure in board.failures:
        writer.writerow(["failed", failure.way, failure.seed, 1, *("" for _ in columns), "", "", "", failure.reason])
    return file.getvalue()


def as_html(board: Leaderboard) -> str:
    """The page: numbers, and the grid of each way's best run beside them; links to its report."""
    return render_page("leaderboard.html.jinja", [], board=board, grid=AVERAGE_GRID)
