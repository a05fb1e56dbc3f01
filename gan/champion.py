"""The champion, on the command line: show it, or change which run it is.

python -m gan.champion show
python -m gan.champion promote NAME
python -m gan.champion rollback
"""

from pathlib import Path

from cyclopts import App
from rich.console import Console
from rich.table import Table

from gan.command import run_command
from gan.runs.champion import check_root, promote, roll_back
from gan.runs.champion_history import Change, champions_in, read_history
from gan.storage.links import CHAMPION

DEFAULT_OUTPUT_DIR = Path("artifacts")


app = App(
    name="python -m gan.champion",
    help="Show or change which published run is the champion.",
    version_flags=(),
    suppress_keyboard_interrupt=False,
)


@app.command
def show(*, output_dir: Path = DEFAULT_OUTPUT_DIR) -> None:
    """Show the champion, and how it became that.

    Args:
        output_dir: the output folder
    """
    console = Console(highlight=False, soft_wrap=True)
    check_root(output_dir)
    history = read_history(output_dir)
    champions = champions_in(history)
    console.print(f"Champion   {champions[-1].run if champions else 'none yet'}", markup=False)
    if history:
        table = Table("When (UTC)", "What", "Run", "Before it", box=None, pad_edge=False)
        for change in history:
            table.add_row(change.at.removesuffix("+00:00"), change.action, change.run, change.before or "")
        console.print()
        console.print(table)


@app.command(name="promote")
def promote_command(run: str, *, output_dir: Path = DEFAULT_OUTPUT_DIR) -> None:
    """Make a published run the champion, whatever the gate said.

    Args:
        run: its name, a folder in runs/ of the output folder
        output_dir: the output folder
    """
    _say(promote(output_dir, run, by_hand=True), output_dir)


@app.command
def rollback(*, output_dir: Path = DEFAULT_OUTPUT_DIR) -> None:
    """Make the champion before the present one the champion again.

    Args:
        output_dir: the output folder
    """
    _say(roll_back(output_dir), output_dir)


def _say(change: Change | None, root: Path) -> None:
    assert change is not None
    was = f" (it was {change.before})" if change.before else ""
    Console(highlight=False, soft_wrap=True).print(f"Champion   {root / CHAMPION}: {change.run}{was}", markup=False)


if __name__ == "__main__":
    run_command(app)
