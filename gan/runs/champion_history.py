"""What an output folder's `champion.jsonl` says: which run became the champion when, how and why, the newest last."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gan.errors import SettingsError
from gan.runs.manifest import AVERAGE_GENERATOR
from gan.runs.publish import RUN_NAME
from gan.storage.files import atomic_path
from gan.storage.plain_json import to_json

HISTORY, FOLDER = "champion.jsonl", "champions"

Action = Literal["promoted", "promoted by hand", "rolled back"]


class Change(BaseModel):
    """A line of the history."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: str = Field(description="UTC, ISO 8601")
    action: Action
    run: str = Field(pattern=f"^{RUN_NAME.pattern}$", description="the champion from then on")
    generator: str = Field(pattern="^[0-9a-f]{64}$", description=f"SHA-256 of its {AVERAGE_GENERATOR}")
    before: str | None = Field(description="the champion until then")
    reasons: tuple[str, ...] = Field((), description="what the gate said")

    @property
    def folder(self) -> str:
        """Where it is kept, below the output folder."""
        return f"{FOLDER}/{self.run}-{self.generator[:12]}"

    @property
    def identity(self) -> tuple[str, str]:
        """Run and generator: a run of the same name may have another one later."""
        return self.run, self.generator


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
    changes: list[Change] = []
    champions: list[Change] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue  # somebody has had the file in an editor
        try:
            change = Change.model_validate_json(line)
        except ValidationError as error:
            raise _unclear(root, number, "cannot be understood") from error
        changes, champions = [*changes, change], _after(champions, change)
        if not champions or champions[-1].identity != change.identity:
            raise _unclear(root, number, f"says that {change.run} is the champion again, which the lines before do not")
    return tuple(changes)


def _unclear(root: Path, number: int, what: str) -> SettingsError:
    return SettingsError(
        f"Line {number} of {root / HISTORY} {what}, so it is not known which run is the champion.\n"
        "Mend the file, or move it away: then there is no champion."
    )


def champion_of(root: Path) -> Change | None:
    """The change that made the present champion one; None if there is none."""
    champions = champions_in(read_history(root))
    return champions[-1] if champions else None


def champions_in(history: Sequence[Change]) -> list[Change]:
    """The present champion last, before it those that a rollback would bring back one after the other."""
    champions: list[Change] = []
    for change in history:
        champions = _after(champions, change)
    return champions


def _after(champions: Sequence[Change], change: Change) -> list[Change]:
    return list(champions[:-1]) if change.action == "rolled back" else [*champions, change]


def was_promoted(root: Path, run: str, generator: str) -> bool:
    """Whether a run, with this generator, is or was the champion."""
    return any(change.identity == (run, generator) for change in read_history(root))


def still_counts(root: Path, run: str, generator: str) -> bool:
    """Whether a run, with this generator, is the champion or was beaten since; not if it was rolled back."""
    return any(change.identity == (run, generator) for change in champions_in(read_history(root)))


def add_change(root: Path, change: Change) -> None:
    """Add a line, whole or not at all."""
    lines = [to_json(line.model_dump(mode="json"), indent=None) for line in (*read_history(root), change)]
    with atomic_path(root / HISTORY) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
