"""The files of a leaderboard: a page, a CSV of the configurations, and a CSV of the runs."""

import csv
import io
from collections.abc import Iterable, Sequence

from gan.formatting import describe_setting
from gan.report.leaderboard import AVERAGE_GRID, MEASURES, Leaderboard
from gan.report.templates import render_page

PAGE, CONFIGURATIONS, RUNS = "leaderboard.html", "leaderboard.csv", "runs.csv"


def as_html(board: Leaderboard) -> str:
    """Return the page: numbers, and for every configuration the image grid of its best run and links to all reports."""
    return render_page("leaderboard.html.jinja", [], board=board, grid=AVERAGE_GRID)


def as_csv(board: Leaderboard) -> str:
    """Return a line for each configuration: mean and deviation of every metric, seconds of training, the best run.

    The cell of a number that is not defined is empty; the column `reason` says why. A failed training has a reason too.
    """
    columns = [f"{name}_{what}" for name in (*MEASURES, "training_seconds") for what in ("mean", "deviation")]
    head = ["rank", "variant", "seeds", "failed", "broken", *columns, "best_run", "n", "features", "reason"]
    lines: list[Sequence[object]] = [head]
    for number, row in enumerate(board.rows, 1):
        spreads = (*row.measures.values(), row.seconds)
        numbers = [_cell(value) for spread in spreads for value in (spread.mean, spread.deviation)]
        seeds = " ".join(map(str, row.seeds))
        reason = "; ".join(f"{name}: {spread.undefined}" for name, spread in row.measures.items() if spread.undefined)
        best = (row.best.run, row.best.n, row.best.extractor, reason)
        lines.append([number, row.variant, seeds, row.num_failed, row.num_broken, *numbers, *best])
    for failure in board.failures:
        empty = [""] * (len(columns) + 4)
        lines.append(["failed", failure.variant, failure.seed, 1, *empty, failure.reason])
    return _as_csv(lines)


def runs_csv(board: Leaderboard) -> str:
    """Return a line for each run: every metric of the averaged weights, and how the run was made and judged.

    The last line has the values of real images, the floor.
    """
    head = ["variant", "seed", "run", *MEASURES, "training_seconds", "broken", "n", "features", "commit", "device"]
    lines: list[Sequence[object]] = [head]
    for row in board.rows:
        for found in row.results:
            numbers = [_cell(value) for value in (*found.values.values(), found.seconds)]
            made = (int(found.is_broken), found.n, found.extractor, found.commit or "", found.device or "")
            lines.append([found.variant, found.seed, found.run, *numbers, *made])
    if board.rows:
        floors = [_cell(board.floors.get(name)) for name in MEASURES]
        lines.append(["real images", "", "", *floors, *[""] * 6])
    return _as_csv(lines)


def _cell(value: float | None) -> str:
    return "" if value is None else describe_setting(value)


def _as_csv(lines: Iterable[Iterable[object]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(lines)
    return file.getvalue()
