"""Many trainings, one leaderboard: recipes x values x seeds; the winner is put to the gate.

python flows/sweep_flow.py --recipes article,mlp --seeds 0-2
"""

import flows  # noqa: F401  # isort: skip  # sets what Prefect reads when it is imported

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from pydantic import BaseModel, Field
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from flows.checks import check_before_work, check_name
from flows.members import (
    Member,
    Outcome,
    SharedSettings,
    SweepSettings,
    first_line,
    members_of,
    run_folder,
    run_members,
)
from flows.server.alerts import alert_on_failure, check_alert_block
from flows.server.cancellation import confirm_cancelled, stop_when_cancelled
from flows.server.session import embedded_server_shared, prefect_session
from flows.train_flow import train_flow
from gan.command import run_command
from gan.errors import FashionGanError, StoreError
from gan.formatting import describe_mean, describe_number, describe_seconds
from gan.report.leaderboard import (
    AVERAGE_GRID,
    MIN_SEEDS,
    Failure,
    Leaderboard,
    as_csv,
    as_html,
    rank,
    read_result,
)
from gan.report.markup import code_span, data_uri, escape_markdown
from gan.runs.champion import describe_standing
from gan.runs.champion_history import champion_of, still_counts
from gan.storage.files import atomic_path

MAX_GRIDS_SHOWN, MAX_ASKED = 8, 3


class Sweep(BaseModel):
    """What a sweep leaves."""

    folder: Path
    failures: tuple[str, ...]
    winner: str | None
    gate: tuple[str, ...] = Field(description="what the gate said of the best runs, as many as were asked about")
    data_warnings: tuple[str, ...] = Field((), description="what looks wrong in the data")


@flow(
    name="sweep",
    flow_run_name="{sweep.recipes}, seeds {sweep.seeds}",
    description="Train many GANs, and compare them on a leaderboard.",
    on_failure=[alert_on_failure],
    on_crashed=[alert_on_failure],
    on_cancellation=[confirm_cancelled],
)
def sweep_flow(sweep: SweepSettings, settings: SharedSettings) -> Sweep:
    """Train every combination of recipes, values and seeds, rank them, and put the winner to the gate.

    Args:
        sweep: What is tried.
        settings: Options of every run; a name in `set` may have several values, with commas between.
    """
    check_alert_block(settings.alert_block)
    members = members_of(sweep, settings)
    with stop_when_cancelled():
        outcomes = run_members(members, sweep)
        board = leaderboard_of(members, outcomes)
        said: list[str] = []
        try:
            if not settings.no_promote:
                said.extend(promote_best(board, members, here=sweep.ray is None))  # one by one
        finally:  # what was trained is shown, whatever became of the gate
            board = replace(board, gate=said)
            folder = write_board(board, members)
            present_board(board, folder)
    failures = tuple(failure.described for failure in board.failures)
    return Sweep(
        folder=folder,
        failures=failures,
        winner=board.winner and board.winner.run,
        gate=tuple(board.gate),
        data_warnings=board.data_warnings,
    )


def leaderboard_of(members: Sequence[Member], outcomes: Sequence[Outcome]) -> Leaderboard:
    """The runs of a sweep, ranked; those that failed are named."""
    results, failures = [], []
    for member, outcome in zip(members, outcomes, strict=True):
        seed, reason = member.settings.seed, outcome.reason
        try:
            if outcome.run is not None:
                results.append(read_result(member.way, seed, run_folder(member, outcome.run)))
                continue
        except (FashionGanError, OSError) as error:
            reason = first_line(error)
        failures.append(Failure(member.way, seed, reason))
    return rank(f"{len(members)} trainings", results, failures)


def promote_best(board: Leaderboard, members: Sequence[Member], *, here: bool) -> Iterator[str]:
    """Put the best run to the gate; where it is refused, the best of the next way, of MAX_ASKED at most.

    The next may be better in what the first was refused for: it copies less, or its recall is higher.

    Args:
        board: The ranking.
        members: What was trained.
        here: Whether it was on this machine, which else needs to have no GPU.

    Yields:
        What the gate said of each that was put to it.
    """
    changes = {"no_promote": False} | ({} if here else {"device": "auto"})
    of = {(member.way, member.settings.seed): member for member in members}
    for row in board.rows[:MAX_ASKED]:
        train_flow(of[row.best.key].settings.model_copy(update=changes))
        root = of[row.best.key].settings.output_dir
        yield f"{row.best.run}: {describe_standing(root, row.best.run)}"
        if still_counts(root, row.best.run, row.best.generator):
            return


def write_board(board: Leaderboard, members: Sequence[Member]) -> Path:
    """Write page and CSV to `sweeps/<name>` of the output folder; the same sweep again replaces them."""
    content = json.dumps([[member.way, member.settings.seed, member.settings.run_config().name] for member in members])
    root = members[0].settings.output_dir
    folder = root / "sweeps" / hashlib.sha256(content.encode()).hexdigest()[:12]
    try:
        for name, text in (("leaderboard.html", as_html(board)), ("leaderboard.csv", as_csv(board))):
            with atomic_path(folder / name) as partial:
                partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"The leaderboard could not be written in {folder}: {error.strerror or error}.\n"
            "The runs are published. Make room there, and run the same command again: nothing is trained again."
        ) from error
    return folder


def present_board(board: Leaderboard, folder: Path) -> None:
    """Show the leaderboard in the UI: numbers, and a grid of each way's best run."""
    if board.rows:
        create_table_artifact(
            key="leaderboard",
            table=[
                {
                    "rank": str(number),
                    "recipe": row.way,
                    "seeds": row.described_seeds,
                    **{title: row.measures[name].described for name, title in board.measures},
                    "training": describe_seconds(row.seconds.mean),
                    "best run": row.best.run,
                }
                for number, row in enumerate(board.rows, 1)
            ],
            description=f"Averaged weights, {board.described}; mean ± standard deviation over seeds; the best first",
        )
    grids = "\n\n".join(
        f"## {escape_markdown(row.way)}, seed {row.best.seed}\n\n"
        + ", ".join(f"{title} {describe_number(row.best.values[name])}" for name, title in board.measures)
        + f'\n\n<img src="{data_uri(row.best.folder / AVERAGE_GRID)}" alt="64 images" width="245">'
        for row in board.rows[:MAX_GRIDS_SHOWN]
    )
    lists = (
        _list("About the data", board.data_warnings)
        + _list("The gate", board.gate)
        + _list("Failed", [failure.described for failure in board.failures])
    )
    create_markdown_artifact(
        key="best-runs",
        markdown=f"# The best run of each{_first_of(len(board.rows))}\n\n{grids}\n\n"
        f"{lists}The page: {code_span(str(folder / 'leaderboard.html'))}",
        description=f"{len(board.rows)} ways to train, {len(board.failures)} trainings failed",
    )


def _list(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"- {escape_markdown(line)}\n" for line in lines)
    return f"# {title}\n\n{items}\n" if items else ""


def _first_of(num_rows: int) -> str:
    return f" (the first {MAX_GRIDS_SHOWN} of {num_rows}; the page has all)" if num_rows > MAX_GRIDS_SHOWN else ""


app = App(
    name="python flows/sweep_flow.py", help=sweep_flow.description, version_flags=(), suppress_keyboard_interrupt=False
)


@app.default
def main(
    *,
    sweep: Annotated[SweepSettings, Parameter(name="*")] = SweepSettings(),  # noqa: B008
    settings: Annotated[SharedSettings, Parameter(name="*", negative=())] = SharedSettings(),  # noqa: B008
) -> None:
    """Check all settings, run the sweep, and say where the leaderboard is.

    Args:
        sweep: What is tried.
        settings: Options of every run.
    """
    first, *others = members_of(sweep, settings)
    settings_here = first.settings if sweep.ray is None else first.settings.model_copy(update={"device": "auto"})
    check_before_work(settings_here)
    settings_here.open_store()
    for other in others:
        check_name(other.settings)
    with prefect_session(), embedded_server_shared():
        done = sweep_flow(sweep, settings)
    print_board(done, settings)
    if done.failures:
        raise FashionGanError(
            f"{len(done.failures)} of the trainings failed:\n"
            + "\n".join(f"  - {line}" for line in done.failures)
            + "\nThe leaderboard has the others. Mend the cause, and run the same command again: nothing that was "
            "finished is trained again."
        )


def print_board(done: Sweep, settings: SharedSettings) -> None:
    """The leaderboard, and where it is."""
    console = Console(highlight=False, soft_wrap=True)
    with (done.folder / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["rank"] != "failed"]
    if rows:
        table = Table("", Column("Recipe", overflow="fold", min_width=24), "Seeds", box=None, pad_edge=False)
        for title in ("Fréchet distance", "Recall", "Coverage", "Training"):
            table.add_column(title, justify="right", no_wrap=True)
        for row in rows:
            cells = [_cell(row, name) for name in ("frechet_distance", "recall", "coverage")]
            table.add_row(
                row["rank"],
                escape(row["way"]),
                row["seeds"],
                *cells,
                describe_seconds(_number(row["training_seconds_mean"])),
            )
        console.print()
        console.print(table)
        few = min(len(row["seeds"].split()) for row in rows) < MIN_SEEDS
        note = f"; over fewer than {MIN_SEEDS} seeds a figure says little" if few else ""
        console.print(f"Averaged weights, n = {rows[0]['n']}, features {rows[0]['features']}{note}", markup=False)
    console.print()
    for name, value in {
        "Leaderboard": str(done.folder / "leaderboard.html"),
        "Winner": done.winner or "none",
        "Champion": _champion(settings.output_dir.expanduser()),
        **{f"Gate {number}": sentence for number, sentence in enumerate(done.gate, 1)},
        **({"Data": " ".join(done.data_warnings)} if done.data_warnings else {}),
    }.items():
        console.print(f"[bold]{name:<12}[/]", end="")
        console.print(value, markup=False)


def _cell(row: dict[str, str], name: str) -> str:
    return describe_mean(_number(row[f"{name}_mean"]), _number(row[f"{name}_deviation"]))


def _number(cell: str) -> float | None:
    """Of a CSV file, where an empty cell is a number that does not exist."""
    return float(cell) if cell else None


def _champion(root: Path) -> str:
    present = champion_of(root)
    return present.run if present else "none yet"


if __name__ == "__main__":
    run_command(app)
