"""The history of the champion, `champion.jsonl` in the output folder: one change a line, the newest last."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from gan.errors import SettingsError
from gan.runs.manifest import AVERAGE_GENERATOR
from gan.runs.publish import RUN_NAME
from gan.storage.files import atomic_path
from gan.storage.plain_json import to_json

HISTORY, FOLDER = "champion.jsonl", "champions"

Action = Literal["promoted", "promoted by hand", "rolled back"]


class Change(BaseModel, frozen=True, extra="forbid"):
    """A change of the champion: one line of the history."""

    at: str = Field(description="UTC, ISO 8601")
    action: Action
    run: str = Field(pattern=f"^{RUN_NAME.pattern}$", description="name of the new champion")
    generator: str = Field(pattern="^[0-9a-f]{64}$", description=f"SHA-256 of its {AVERAGE_GENERATOR}")
    before: str | None = Field(description="name of the previous champion")
    reasons: tuple[str, ...] = Field((), description="reasons of the gate")

    @property
    def folder(self) -> str:
        """The folder with the copy of the champion, relative to the output folder."""
        return f"{FOLDER}/{self.run}-{self.generator[:12]}"

    @property
    def identity(self) -> tuple[str, str]:
        """Run and generator, since a later run of the same name may have another generator."""
        return self.run, self.generator


def read_history(root: Path) -> tuple[Change, ...]:
    """Read every change of the champion of an output folder, the oldest first.

    Raises:
        SettingsError: If a line is invalid, or does not follow from the lines before it.
    """
    try:
        lines = (root / HISTORY).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{root / HISTORY} cannot be read: {error}.\nRepair it, or move it away.") from error
    changes: list[Change] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue  # an editor may have left an empty line
        try:
            changes.append(Change.model_validate_json(line))
        except ValidationError as error:
            raise _invalid_line(root, number, "is invalid") from error
        champions = champion_stack(changes)
        if not champions or champions[-1].identity != changes[-1].identity:
            problem = f"says that {changes[-1].run} is the champion again, which contradicts the lines before it"
            raise _invalid_line(root, number, problem)
    return tuple(changes)


def _invalid_line(root: Path, number: int, problem: str) -> SettingsError:
    return SettingsError(
        f"Line {number} of {root / HISTORY} {problem}, so it is unknown which run is the champion.\n"
        "Repair the file, or move it away: then there is no champion."
    )


def champion_of(root: Path) -> Change | None:
    """Return the change that made the current champion; None if there is no champion."""
    champions = champion_stack(read_history(root))
    return champions[-1] if champions else None


def champion_stack(history: Sequence[Change]) -> list[Change]:
    """Return the champions as a stack: the current one is last, and a rollback removes it."""
    champions: list[Change] = []
    for change in history:
        if change.action == "rolled back":
            del champions[-1:]
        else:
            champions.append(change)
    return champions


def was_promoted(root: Path, run: str, generator: str) -> bool:
    """Return whether a run with this generator (SHA-256) is or was the champion."""
    return any(change.identity == (run, generator) for change in read_history(root))


def is_on_champion_stack(root: Path, run: str, generator: str) -> bool:
    """Return whether a run with this generator (SHA-256) was promoted and has not been rolled back."""
    return any(change.identity == (run, generator) for change in champion_stack(read_history(root)))


def add_change(root: Path, change: Change) -> None:
    """Append a change to the history; the file is replaced atomically."""
    lines = [to_json(line.model_dump(mode="json"), indent=None) for line in (*read_history(root), change)]
    with atomic_path(root / HISTORY) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
