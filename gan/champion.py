"""The champion: the published run whose generator is used, and how it became that.

    <root>/champion          a link to the champion's folder in runs/
    <root>/champion.jsonl    every change, a line each, the newest last; what it says counts, the link follows

python -m gan.champion show
python -m gan.champion promote NAME
python -m gan.champion rollback
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cyclopts import App
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.table import Table

from gan.command import run_command
from gan.errors import SettingsError
from gan.gate import Decision
from gan.locks import alone
from gan.published import AVERAGE_GENERATOR, AVERAGE_SAMPLES, check_files, read_manifest
from gan.publishing import RUN_NAME, point_to_run
from gan.store import atomic_path

LINK, HISTORY = "champion", "champion.jsonl"
DEFAULT_OUTPUT_DIR = Path("artifacts")

Action = Literal["promoted", "promoted by hand", "rolled back"]


class Change(BaseModel):
    """A line of the history."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: str = Field(description="UTC, ISO 8601")
    action: Action
    run: str = Field(pattern=RUN_NAME.pattern, description="the champion from then on")
    generator: str = Field(pattern="^[0-9a-f]{64}$", description=f"SHA-256 of its {AVERAGE_GENERATOR}")
    before: str | None = Field(description="the champion until then")
    reasons: tuple[str, ...] = Field((), description="what the gate said")


def read_history(root: Path) -> tuple[Change, ...]:
    """Every change of an output folder's champion, the oldest first.

    Raises:
        SettingsError: If a line is not one that this module wrote.
    """
    try:
        lines = (root / HISTORY).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{root / HISTORY} cannot be read: {error}.\nMend it, or move it away.") from error
    changes = []
    for number, line in enumerate(lines, 1):
        try:
            changes.append(Change.model_validate_json(line))
        except ValidationError as error:
            raise SettingsError(
                f"Line {number} of {root / HISTORY} cannot be understood, so it is not known which run is the champion."
                "\nMend or remove that line, or move the file away: then there is no champion."
            ) from error
    return tuple(changes)


def champion_of(root: Path) -> Change | None:
    """The change that made the present champion one; None if there is none."""
    champions = _champions(read_history(root))
    return champions[-1] if champions else None


def _champions(history: Sequence[Change]) -> list[Change]:
    """The present champion last, before it those that a rollback would bring back one after the other."""
    champions: list[Change] = []
    for change in history:
        if change.action == "rolled back":
            champions = champions[:-1]
        else:
            champions.append(change)
    return champions


def was_promoted(root: Path, run: str, generator: str) -> bool:
    """Whether a run, with this generator, is or was the champion."""
    return any((change.run, change.generator) == (run, generator) for change in read_history(root))


def promote(
    root: Path, run: str, *, over: str | None = None, by_hand: bool = False, reasons: Sequence[str] = ()
) -> Change | None:
    """Make a published run the champion.

    Args:
        root: The output folder.
        run: Its name.
        over: The champion that it was judged against; it must still be that, unless this is done by hand.
        by_hand: A person says so.
        reasons: What the gate said.

    Returns:
        The new line of the history; None if another run has become the champion since it was judged.

    Raises:
        SettingsError: If the run is not there, or not whole.
    """
    generator = _check_published(root, run)
    with _alone(root):
        present = champion_of(root)
        before = present.run if present else None
        if not by_hand and before != over:
            return None
        if present and (present.run, present.generator) == (run, generator):
            raise SettingsError(f"{run} is the champion already.")
        return _write(root, "promoted by hand" if by_hand else "promoted", run, generator, before, reasons)


def roll_back(root: Path) -> Change:
    """Make the champion before the present one the champion again.

    Raises:
        SettingsError: If there is none before it, or it is not there any more.
    """
    with _alone(root):
        champions = _champions(read_history(root))
        if len(champions) < 2:
            present = f"{champions[-1].run} is the first champion" if champions else "There is no champion"
            raise SettingsError(
                f"{present} in {root}; there is none before it.\nMake another run the champion with: "
                "python -m gan.champion promote NAME"
            )
        earlier = champions[-2].run
        return _write(root, "rolled back", earlier, _check_published(root, earlier), champions[-1].run, ())


def mend_link(root: Path) -> None:
    """Let the link follow the history, if a kill came between the two or somebody has removed it."""
    present = champion_of(root)
    if present and (root / "runs" / present.run).is_dir() and (root / LINK).resolve().name != present.run:
        point_to_run(root, LINK, present.run)


def standing(root: Path, run: str) -> str:
    """What the gate has said of a published run, and what became of that, for people.

    Raises:
        SettingsError: If the run or the history cannot be read.
    """
    manifest = read_manifest(root / "runs" / run)
    try:
        gate = Decision.model_validate(manifest.gate)
    except ValidationError:
        return "This run was published before there was a gate."
    present = champion_of(root)
    if present and (present.run, present.generator) == (run, manifest.sha256(AVERAGE_GENERATOR)):
        return f"It is the champion. {gate.sentence}"
    rest = "" if not gate.passes else " It was not promoted, or is not the champion any more."
    return f"{gate.sentence}{rest}"


def _check_published(root: Path, run: str) -> str:
    """SHA-256 of the averaged generator of a whole published run."""
    if not RUN_NAME.fullmatch(run):
        raise SettingsError(f"{run!r} cannot be a run's name.\nGive the name of a folder in {root / 'runs'}.")
    manifest = read_manifest(root / "runs" / run)
    check_files(root / "runs" / run, manifest, AVERAGE_GENERATOR, AVERAGE_SAMPLES)
    return manifest.sha256(AVERAGE_GENERATOR) or ""


def _write(root: Path, action: Action, run: str, generator: str, before: str | None, reasons: Sequence[str]) -> Change:
    """Add a line, whole or not at all, and let the link follow."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    change = Change(at=now, action=action, run=run, generator=generator, before=before, reasons=tuple(reasons))
    lines = [line.model_dump_json() for line in (*read_history(root), change)]
    with atomic_path(root / HISTORY) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    point_to_run(root, LINK, run)
    return change


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One change at a time."""
    try:
        with alone(root / ".in-use" / "champion.lock", on_wait=lambda _: None):
            yield
    except OSError as error:
        raise SettingsError(
            f"The champion of {root} cannot be changed: {error.strerror or error}.\n"
            "Nothing was changed. See that the folder can be written and has room, and try again."
        ) from error


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
    present = champion_of(output_dir)
    console.print(f"Champion   {present.run if present else 'none yet'}", markup=False)
    history = read_history(output_dir)
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
    Console(highlight=False, soft_wrap=True).print(f"Champion   {root / LINK}: {change.run}{was}", markup=False)


if __name__ == "__main__":
    run_command(app)
