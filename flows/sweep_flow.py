"""Train many GANs (recipes x values x seeds), rank them on a leaderboard, and promote the best if it passes the gate.

python flows/sweep_flow.py --recipes article,mlp --seeds 0-2
"""

import flows  # noqa: F401  # isort: skip  # sets environment variables that Prefect reads when it is imported

import hashlib
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from rich.table import Column, Table

from flows.checks import check_before_work, check_name
from flows.members import (
    Member,
    Outcome,
    SharedSettings,
    SweepSettings,
    describe_failure,
    members_of,
    run_folder,
    run_members,
)
from flows.server.alerts import alert_on_disk, alert_on_failure, check_alert_block
from flows.server.cancellation import confirm_cancelled, stop_when_cancelled
from flows.server.session import embedded_server_shared, prefect_session
from flows.train_flow import train_flow
from gan.command import new_app, print_table, run_command, terminal
from gan.errors import FashionGanError, StoreError
from gan.formatting import describe_seconds
from gan.judging.definitions import describe_metric
from gan.report.front_page import refresh_front_page
from gan.report.leaderboard import AVERAGE_GRID, MIN_SEEDS, Failure, Leaderboard
from gan.report.leaderboard_files import CONFIGURATIONS, PAGE, RUNS, as_csv, as_html, runs_csv
from gan.report.markup import code_span, data_uri, escape_markdown
from gan.report.ranking import rank, read_result
from gan.runs.champion import champion_of, describe_champion_status, is_on_champion_stack
from gan.runs.sweeps import SUMMARY, SweepSummary, read_summary
from gan.storage.files import atomic_path
from gan.storage.locks import mark_in_use
from tasks.artifacts import create_trend, pages_url

MAX_GRIDS_SHOWN, MAX_CANDIDATES = 8, 3


@dataclass(frozen=True)
class Sweep:
    """The result of a sweep: the leaderboard, and the folder of its files."""

    board: Leaderboard
    folder: Path


@flow(
    name="sweep",
    flow_run_name="{sweep.recipes}, seeds {sweep.seeds}",
    description="Train many GANs, and compare them on a leaderboard.",
    on_failure=[alert_on_failure],
    on_crashed=[alert_on_failure],
    on_cancellation=[confirm_cancelled],
)
def sweep_flow(sweep: SweepSettings, settings: SharedSettings) -> Sweep:
    """Train every combination of recipes, values and seeds, rank them, and promote the best if it passes the gate.

    Args:
        sweep: The recipes and seeds.
        settings: The options of every run. A name in `set` may have several values, separated by commas.
    """
    sweep = sweep.with_seeds()
    check_alert_block(settings.alert_block)
    members = members_of(sweep, settings)
    root = members[0].settings.open_store().root
    with stop_when_cancelled(), mark_in_use(root):
        outcomes = run_members(members, sweep)
        board = leaderboard_of(members, outcomes)
        decisions: list[str] = []
        try:
            if not settings.no_promote:
                decisions.extend(promote_best(board, members, here=sweep.ray is None))
        finally:  # the leaderboard is shown even if a promotion fails
            board = replace(board, title=title_of(sweep, settings), gate=decisions, command=command_of(sweep, settings))
            folder = write_board(board, members)
            present_board(board, folder)
            create_trend(refresh_front_page(root))
            alert_on_disk(settings.alert_block, root)
    if not board.rows:
        raise FashionGanError(describe_failures(board))
    return Sweep(board, folder)


def describe_failures(board: Leaderboard) -> str:
    """List the trainings that failed, and say what to do."""
    return (
        f"{len(board.failures)} of the trainings failed:\n"
        + "\n".join(f"  - {failure.described}" for failure in board.failures)
        + ("\nThe leaderboard has the others." if board.rows else "\nNo training succeeded.")
        + " Correct the cause, and run the same command again: no finished training is repeated."
    )


def command_of(sweep: SweepSettings, settings: SharedSettings) -> str:
    """Return the command that starts an equal sweep. It leaves out `--alert-block`."""
    given = sweep.model_dump(mode="json", exclude_defaults=True)
    given |= settings.model_dump(mode="json", exclude_defaults=True, exclude={"alert_block"})
    words = ["python", "flows/sweep_flow.py"]
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        for each in value if isinstance(value, list) else [value]:
            words += [option] if each is True else [option, str(each)]
    return shlex.join(words)


def leaderboard_of(members: Sequence[Member], outcomes: Sequence[Outcome]) -> Leaderboard:
    """Rank the runs of a sweep, and list those that failed."""
    results, failures = [], []
    for member, outcome in zip(members, outcomes, strict=True):
        key = member.variant, member.seed
        try:
            if outcome.run is None:
                failures.append(Failure(*key, outcome.reason))
            else:
                results.append(read_result(*key, run_folder(member, outcome.run)))
        except (FashionGanError, OSError) as error:
            failures.append(Failure(*key, describe_failure(error)))
    return rank(results, failures)


def title_of(sweep: SweepSettings, settings: SharedSettings) -> str:
    """Name what a sweep compares: recipes, values, seeds, and the data set."""
    options = {"steps": settings.steps, "images a step": settings.batch_size, "samples": settings.num_samples}
    given = ["smoke"] * settings.smoke + [f"{value:,} {name}" for name, value in options.items() if value]
    return ", ".join([*sweep.recipe_names(), *settings.set, *given, f"seeds {sweep.seeds}", settings.dataset])


def promote_best(board: Leaderboard, members: Sequence[Member], *, here: bool) -> Iterator[str]:
    """Promote the best run if it passes the gate; otherwise try the best run of the next row, up to MAX_CANDIDATES.

    A run with a larger Fréchet distance may pass where the best one fails, as by fewer near copies or a higher recall.
    Yield the gate's decision about each candidate.

    Args:
        board: The leaderboard.
        members: The trainings of the sweep.
        here: Whether the trainings ran on this machine. If not, the device is auto, because this machine may have no
            GPU.
    """
    changes = {"no_promote": False} | ({} if here else {"device": "auto"})
    by_key = {(member.variant, member.seed): member for member in members}
    for row in board.rows[:MAX_CANDIDATES]:
        settings = by_key[row.best.variant, row.best.seed].settings
        train_flow(settings.model_copy(update=changes))
        root = settings.output_dir
        yield f"{row.best.run}: {describe_champion_status(root, row.best.run)}"
        if is_on_champion_stack(root, row.best.generator):
            return


def write_board(board: Leaderboard, members: Sequence[Member]) -> Path:
    """Write the leaderboard to `sweeps/<name>` in the output folder, as HTML and CSV. Equal sweeps have equal names."""
    content = json.dumps([[member.variant, member.seed, member.settings.run_config().name] for member in members])
    root = members[0].settings.output_dir
    folder = root / "sweeps" / hashlib.sha256(content.encode()).hexdigest()[:12]
    earlier = read_summary(folder)
    winner = board.winner.run if board.winner else earlier and earlier.winner  # retention keeps it
    at = datetime.now(UTC).replace(microsecond=0)
    board = replace(board, made=f"Made on {at:%Y-%m-%d %H:%M} UTC{describe_origin(board)}")
    summary = SweepSummary(title=board.title, at=at, winner=winner)
    try:
        files = {
            SUMMARY: summary.model_dump_json(indent=2),
            RUNS: runs_csv(board),
            CONFIGURATIONS: as_csv(board),
            PAGE: as_html(board),
        }
        for name, text in files.items():
            with atomic_path(folder / name) as partial:
                partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"The leaderboard could not be written in {folder}: {error.strerror or error}.\n"
            "The runs are published. Free some space there, and run the same command again: nothing is trained again."
        ) from error
    return folder


def describe_origin(board: Leaderboard) -> str:
    """Say by which code the runs were published, and on which devices they were trained."""
    results = [result for row in board.rows for result in row.results]
    parts = (result.commit.partition(" ") for result in results if result.commit)
    commits = dict.fromkeys(f"{commit[:8]} {changes}".rstrip() for commit, _, changes in parts)
    devices = dict.fromkeys(result.device for result in results if result.device)
    of_code = f"; runs published by the code of {', '.join(commits)}" if commits else ""
    return f"{of_code}; trained on {', '.join(devices)}." if devices else f"{of_code}."


def present_board(board: Leaderboard, folder: Path) -> None:
    """Show the leaderboard in the UI: a table, and a grid of the best run of each row."""
    if board.rows:
        table = [
            {"rank": str(number), "recipe": row.variant, "seeds": row.described_seeds}
            | {title: row.measures[name].described for name, title in board.measures}
            | {"distance from the first": row.described_gap}
            | {"training": describe_seconds(row.seconds.mean), "best run": row.best.run}
            for number, row in enumerate(board.rows, 1)
        ]
        numbers = f"averaged weights, {board.described}; mean ± standard deviation over seeds"
        words = f"{escape_markdown(board.verdict)} Numbers: {numbers}."
        create_table_artifact(key="leaderboard", table=table, description=words)
    grids = "\n\n".join(
        f"## {escape_markdown(row.variant)}, seed {row.best.seed}\n\n"
        + ", ".join(f"{title} {describe_metric(name, row.best.values[name])}" for name, title in board.measures)
        + f'\n\n<img src="{data_uri(row.best.folder / AVERAGE_GRID)}" alt="64 images" width="245">'
        for row in board.rows[:MAX_GRIDS_SHOWN]
    )
    failed = [failure.described for failure in board.failures]
    lists = (("About the data", board.data_warnings), ("The gate", board.gate), ("Failed", failed))
    items = ((title, "".join(f"- {escape_markdown(line)}\n" for line in lines)) for title, lines in lists)
    listed = "".join(f"# {title}\n\n{lines}\n" for title, lines in items if lines)
    extra = f" (the first {MAX_GRIDS_SHOWN} of {len(board.rows)}; the page has all)"
    create_markdown_artifact(
        key="best-runs",
        markdown=f"# The best run of each{extra if len(board.rows) > MAX_GRIDS_SHOWN else ''}\n\n{grids}\n\n"
        f"{listed}**[The leaderboard]({pages_url(f'sweeps/{folder.name}/leaderboard.html')})** "
        f"({code_span(str(folder / 'leaderboard.html'))})",
        description=f"Combinations with results: {len(board.rows)}; trainings that failed: {len(board.failures)}",
    )


app = new_app("flows/sweep_flow.py", sweep_flow.description)


@app.default
def main(
    *,
    sweep: Annotated[SweepSettings, Parameter(name="*")] = SweepSettings(),  # noqa: B008
    settings: Annotated[SharedSettings, Parameter(name="*", negative=())] = SharedSettings(),  # noqa: B008
) -> None:
    """Check all settings, run the sweep, and print the leaderboard.

    Args:
        sweep: The recipes and seeds.
        settings: The options of every run.
    """
    sweep = sweep.with_seeds()
    first, *others = members_of(sweep, settings)
    check_before_work(first.settings if sweep.ray is None else first.settings.model_copy(update={"device": "auto"}))
    first.settings.open_store()
    for other in others:
        check_name(other.settings)
    with prefect_session(), embedded_server_shared():
        done = sweep_flow(sweep, settings)
    print_board(done, settings)
    if done.board.failures:
        raise FashionGanError(describe_failures(done.board))


def print_board(done: Sweep, settings: SharedSettings) -> None:
    """Print the leaderboard, the path of its page, and the gate's decisions."""
    console = terminal()
    board = done.board
    if board.rows:
        names = ("Fréchet distance", "Recall", "Coverage", "Training")
        columns = [Column(name, justify="right", no_wrap=True) for name in names]
        folded = Column("Recipe", overflow="fold", min_width=24), Column("Seeds", overflow="fold", min_width=8)
        table = Table("", *folded, *columns, box=None, pad_edge=False)
        for number, row in enumerate(board.rows, 1):
            cells = [row.measures[name].described for name in ("frechet_distance", "recall", "coverage")]
            seeds, seconds = row.described_seeds, describe_seconds(row.seconds.mean)
            table.add_row(str(number), row.variant, seeds, *cells, seconds)
        console.print()
        print_table(console, table)
        is_few = min(len(row.seeds) for row in board.rows) < MIN_SEEDS
        note = f"; figures over fewer than {MIN_SEEDS} seeds are unreliable" if is_few else ""
        best = board.rows[0].best
        console.print(f"Averaged weights, n = {best.n}, features {best.extractor}{note}")
    console.print()
    champion = champion_of(settings.output_dir)
    for name, value in {
        "Leaderboard": str(done.folder / "leaderboard.html"),
        "Result": board.verdict if board.rows else "No training succeeded.",
        "Champion": champion.run if champion else "none yet",
        **{f"Gate {number}": sentence for number, sentence in enumerate(board.gate, 1)},
        **({"Data": " ".join(board.data_warnings)} if board.data_warnings else {}),
    }.items():
        console.print(f"{name:<12}", style="bold", end="")
        console.print(value)


if __name__ == "__main__":
    run_command(app)
