"""A leaderboard of many trainings: what each way to train reaches, over seeds, as a page and as CSV."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from gan.published import AVERAGE_GENERATOR, read_manifest
from gan.publishing import METRICS
from gan.report.page import render_page
from gan.report.words import describe_mean

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
    values: dict[str, float]  # MEASURES
    titles: dict[str, str]
    n: int
    extractor: str
    generator: str  # SHA-256 of the averaged one
    seconds: float  # of training
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
    """Of one measure over seeds."""

    mean: float
    deviation: float | None  # None of a single seed

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
    first = metrics[MEASURES[0]]
    return Result(
        way=way,
        seed=seed,
        run=folder.name,
        folder=folder,
        values={name: metric["average"] for name, metric in metrics.items()},
        titles={name: metric["title"] for name, metric in metrics.items()},
        n=first["n"],
        extractor=first["extractor"],
        generator=read_manifest(folder).sha256(AVERAGE_GENERATOR) or "",
        seconds=content["training"]["training_seconds"],
        data_warnings=tuple(content["data_warnings"]),
    )


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
                measures={name: _spread([result.values[name] for result in of_way]) for name in MEASURES},
                seconds=_spread([result.seconds for result in of_way]),
                best=min(of_way, key=lambda result: result.values[MEASURES[0]]),
            )
        )
    return Leaderboard(
        title, sorted(rows, key=lambda row: (row.num_failed > 0, row.measures[MEASURES[0]].mean)), failures
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None)


def as_csv(board: Leaderboard) -> str:
    """The rows for a spreadsheet: mean and deviation of every measure, training seconds, the best run."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = [f"{name}_{what}" for name in (*MEASURES, "training_seconds") for what in ("mean", "deviation")]
    writer.writerow(["rank", "way", "seeds", "failed", *columns, "best_run", "n", "features", "reason"])
    for number, row in enumerate(board.rows, 1):
        spreads = (*row.measures.values(), row.seconds)
        cells = [value for spread in spreads for value in (spread.mean, spread.deviation)]
        seeds = " ".join(map(str, row.seeds))
        numbers = ("" if cell is None else f"{cell:.6g}" for cell in cells)
        best = (row.best.run, row.best.n, row.best.extractor, "")
        writer.writerow([number, row.way, seeds, row.num_failed, *numbers, *best])
    for failure in board.failures:
        writer.writerow(["failed", failure.way, failure.seed, 1, *("" for _ in columns), "", "", "", failure.reason])
    return file.getvalue()


def as_html(board: Leaderboard) -> str:
    """The page: numbers, and the grid of each way's best run beside them; links to its report."""
    return render_page("leaderboard.html.jinja", [], board=board, grid=AVERAGE_GRID)
