"""Show the champion on the command line, or change which run it is. `gan/runs/champion.py` has the rules.

python -m gan.champion show
python -m gan.champion promote NAME
python -m gan.champion rollback
"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Column, Table

from gan.command import new_app, print_table, run_command, terminal
from gan.config import DEFAULT_OUTPUT_DIR
from gan.formatting import list_names
from gan.runs.catalog import read_catalog, read_entry
from gan.runs.champion import (
    Change,
    champion_of,
    champion_stack,
    check_root,
    is_on_champion_stack,
    promote_by_hand,
    read_history,
    roll_back,
)
from gan.storage.links import CHAMPION

RunName = Annotated[str, Parameter(help="Name of the run: a folder in runs/ of the output folder.")]
OutputDir = Annotated[Path, Parameter(help="Folder with the published runs.")]

app = new_app("gan.champion", "Show or change which published run is the champion.")


@app.command
def show(*, output_dir: OutputDir = DEFAULT_OUTPUT_DIR) -> None:
    """Show the champion and every change of it."""
    console = terminal()
    check_root(output_dir)
    history = read_history(output_dir)
    champions = champion_stack(history)
    console.print(f"Champion   {champions[-1].run if champions else 'none yet'}")
    if history:
        names = (Column(heading, overflow="fold") for heading in ("Run", "Before it"))
        table = Table("When (UTC)", "What", *names, box=None, pad_edge=False)
        for change in history:
            table.add_row(change.at.removesuffix("+00:00"), change.action, change.run, change.before or "")
        console.print()
        print_table(console, table)


@app.command(name="promote")
def promote_command(run: RunName, *, output_dir: OutputDir = DEFAULT_OUTPUT_DIR) -> None:
    """Make a published run the champion, whatever the gate decided."""
    _report(promote_by_hand(output_dir, run), output_dir)
    entry = read_entry(output_dir / "runs" / run)
    if entry and not entry.passes:
        terminal().print(f"{entry.badge}. It did not pass the gate: {' '.join(entry.reasons)}")


@app.command
def rollback(*, output_dir: OutputDir = DEFAULT_OUTPUT_DIR) -> None:
    """Make the previous champion the champion again."""
    gone = champion_of(output_dir)
    _report(roll_back(output_dir), output_dir)
    if gone is None or is_on_champion_stack(output_dir, gone.generator):
        return
    judged = [run.name for run in read_catalog(output_dir) if run.champion == gone.run and not run.passes]
    if judged:
        terminal().print(
            f"{gone.run} was the champion when these runs were judged. Repeat the command of a run, and the gate "
            f"decides again: {list_names(judged[::-1])}"
        )


def _report(change: Change, root: Path) -> None:
    from gan.report.front_page import refresh_front_page  # only a change needs it

    refresh_front_page(root)
    was = f" (it was {change.before})" if change.before else ""
    terminal().print(f"Champion   {root / CHAMPION}: {change.run}{was}")


if __name__ == "__main__":
    run_command(app)
