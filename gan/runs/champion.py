"""The champion: the published run whose generator is used, and how it changes.

<root>/champion             a link to the champion's folder in champions/
<root>/champion.jsonl       the history, one change a line, the newest last; if the link differs, the history is right
<root>/champions/<folder>/  a copy of the run as it was promoted; a later run of the same name, for example
                            after an edit of the code, does not replace it
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from gan.config import output_option
from gan.errors import SettingsError, StoreError
from gan.judging.gate import Decision, Quality, best_of
from gan.runs.manifest import AVERAGE_GENERATOR, AVERAGE_SAMPLES, Manifest, check_files, read_manifest, read_run
from gan.runs.publish import RUN_NAME
from gan.storage.file_system import link_or_copy, suggest_remedy
from gan.storage.files import atomic_path
from gan.storage.links import CHAMPION, follow_link, set_link
from gan.storage.locks import IN_USE, exclusive_lock, shared_root_lock
from gan.storage.plain_json import to_json

HISTORY = "champion.jsonl"

Action = Literal["promoted", "promoted by hand", "rolled back"]


class Change(BaseModel, frozen=True, extra="forbid"):
    """A change of the champion: one line of the history."""

    at: str = Field(description="UTC, ISO 8601")
    action: Action
    run: str = Field(pattern=f"^{RUN_NAME.pattern}$", description="name of the new champion")
    generator: str = Field(pattern="^[0-9a-f]{64}$", description=f"SHA-256 of its {AVERAGE_GENERATOR}")
    before: str | None = Field(description="name of the previous champion")
    reasons: tuple[str, ...] = Field((), description="reasons of the gate")
    quality: Quality | None = Field(None, description="what later champions must reach; null if not known")

    @property
    def folder(self) -> str:
        """The folder with the copy of the champion, relative to the output folder."""
        return f"champions/{self.run}-{self.generator[:12]}"

    @property
    def identity(self) -> tuple[str, str]:
        """Run and generator, since a later run of the same name may have another generator."""
        return self.run, self.generator


def read_history(root: Path) -> tuple[Change, ...]:
    """Read all changes of the champion, the oldest first; refuse a line that contradicts the lines before it."""
    try:
        lines = (root / HISTORY).read_text(encoding="utf-8").split("\n")
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


def best_so_far(root: Path) -> tuple[Quality, ...]:
    """Return the best values of all champions that were not rolled back, for each number of images and features."""
    return best_of(change.quality for change in champion_stack(read_history(root)) if change.quality)


def was_promoted(root: Path, generator: str) -> bool:
    """Return whether a run with this averaged generator (SHA-256) is or was the champion, under whatever name."""
    return any(change.generator == generator for change in read_history(root))


def is_on_champion_stack(root: Path, generator: str) -> bool:
    """Return whether a run with this averaged generator (SHA-256) was promoted and not rolled back."""
    return any(change.generator == generator for change in champion_stack(read_history(root)))


def add_change(root: Path, change: Change) -> None:
    """Append a change to the history; the file is replaced atomically."""
    lines = [to_json(line.model_dump(mode="json"), indent=None) for line in (*read_history(root), change)]
    with atomic_path(root / HISTORY) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def promote(
    root: Path, run: str, *, against: tuple[str, str] | None, generator: str, reasons: Sequence[str]
) -> Change | None:
    """Make a published run the champion because it has passed the gate.

    Args:
        root: The output folder.
        run: Name of the run.
        against: Identity of the champion that the run was judged against; None if there was no champion.
        generator: SHA-256 of the averaged generator that was judged.
        reasons: Reasons of the gate.

    Returns:
        The line of the history that records the promotion. None if, since the run was judged, another run has become
        the champion, or another generator was published under the run's name.

    Raises:
        SettingsError: If the run does not exist or is damaged.
    """
    manifest = _check_published(root, run)
    with _champion_lock(root):
        current = champion_of(root)
        if (against, generator) != (current.identity if current else None, manifest.sha256(AVERAGE_GENERATOR)):
            return None
        change = _promotion("promoted", run, manifest, current, reasons)
        try:
            _copy_run(root, change)
        except SettingsError:  # another generator was published under the run's name in the meantime
            return None
        return _record(root, change)


def promote_by_hand(root: Path, run: str) -> Change:
    """Make a published run the champion because the user says so; if it is the champion, restore its damaged copy.

    Raises:
        SettingsError: If the run does not exist, is damaged, or is the champion already.
    """
    manifest = _check_published(root, run)
    with _champion_lock(root):
        current = champion_of(root)
        if current and current.identity == (run, manifest.sha256(AVERAGE_GENERATOR)):
            return _repair_copy(root, current)
        change = _promotion("promoted by hand", run, manifest, current)
        _copy_run(root, change)
        return _record(root, change)


def roll_back(root: Path) -> Change:
    """Make the previous champion the champion again; raise SettingsError if there is none, or its copy is damaged."""
    with _champion_lock(root):
        champions = champion_stack(read_history(root))
        if len(champions) < 2:
            state = f"{champions[-1].run} is the first champion" if champions else "There is no champion"
            raise SettingsError(
                f"{state} in {root}; there is no previous one.\nMake another run the champion with: "
                f"python -m gan.champion promote NAME {output_option(root)}"
            )
        current, previous = champions[-1], champions[-2]
        check_champion(root, previous)
        return _record(root, _new_change("rolled back", previous.run, previous.generator, current))


def _promotion(
    action: Action, run: str, manifest: Manifest, current: Change | None, reasons: Sequence[str] = ()
) -> Change:
    """Return the line of the history for the promotion of a published run."""
    change = _new_change(action, run, manifest.sha256(AVERAGE_GENERATOR) or "", current, reasons)
    with suppress(ValidationError):  # a manifest of an earlier version
        change = change.model_copy(update={"quality": Decision.model_validate(manifest.gate).quality})
    return change


def _new_change(action: Action, run: str, generator: str, last: Change | None, reasons: Sequence[str] = ()) -> Change:
    at, before = datetime.now(UTC).isoformat(timespec="seconds"), last.run if last else None
    return Change(at=at, action=action, run=run, generator=generator, before=before, reasons=tuple(reasons))


def check_champion(root: Path, champion: Change) -> Manifest:
    """Return the manifest of a champion's copy; raise SettingsError if the copy is damaged or of another run."""
    folder = root / champion.folder
    manifest = _read_intact(folder, champion)
    if manifest is None:
        what = "is damaged, or not what was promoted" if folder.is_dir() else "is gone"
        raise SettingsError(
            f"{folder} {what}.\n"
            f"If runs/{champion.run} still exists, restore it: "
            f"python -m gan.champion promote {champion.run} {output_option(root)}"
        )
    return manifest


def _read_intact(folder: Path, champion: Change) -> Manifest | None:
    """Return the manifest of a copy of the champion; None if the copy is damaged or of another run."""
    try:
        manifest = read_manifest(folder)
        check_files(folder, manifest, AVERAGE_GENERATOR, AVERAGE_SAMPLES)
    except SettingsError:
        return None
    return manifest if manifest.sha256(AVERAGE_GENERATOR) == champion.generator else None


def _repair_copy(root: Path, champion: Change) -> Change:
    """Copy the champion again if its copy is lost or damaged; refuse the promotion if the copy is intact."""
    try:
        check_champion(root, champion)
    except SettingsError:
        _copy_run(root, champion)
        return champion
    else:
        raise SettingsError(f"{champion.run} is the champion already.")
    finally:
        _update_link(root)


def mend_link(root: Path) -> None:
    """Point the link to the champion of the history, since a kill or the user may have left it wrong."""
    with _champion_lock(root):
        _update_link(root)


def _update_link(root: Path) -> None:
    current = champion_of(root)
    if current is None:
        return
    folder = root / current.folder
    try:
        is_right = follow_link(root / CHAMPION) == folder.resolve()
    except StoreError:  # it leads to itself
        is_right = False
    if folder.is_dir() and not is_right:
        set_link(root, CHAMPION, current.folder)


def describe_champion_status(root: Path, run: str) -> str:
    """Describe the gate's decision on a published run, and whether the run is, was or never became the champion."""
    manifest = read_manifest(root / "runs" / run)
    gate, current = Decision.model_validate(manifest.gate), champion_of(root)
    generator = manifest.sha256(AVERAGE_GENERATOR) or ""
    if current and current.generator == generator:
        return f"It is the champion{f', as {current.run}' if current.run != run else ''}. {gate.sentence}"
    if current and was_promoted(root, generator):
        return f"It was the champion before; {current.run} is now. {gate.sentence}"
    why = " It was not promoted, because of --no-promote, a sweep, or another champion in the meantime."
    return f"{gate.sentence}{why if gate.passes else ''}"


def _check_published(root: Path, run: str) -> Manifest:
    """Check a published run, and return its manifest."""
    manifest = read_run(root, run)
    check_files(root / "runs" / run, manifest, AVERAGE_GENERATOR, AVERAGE_SAMPLES)
    return manifest


def _copy_run(root: Path, champion: Change) -> None:
    """Copy a run to the folder of the champion, completely or not at all; files are hard links where possible."""
    target = root / champion.folder
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as partial:
        with shared_root_lock(root):  # nobody replaces the run while it is copied
            link_or_copy(root / "runs" / champion.run, Path(partial) / "run")
        if _read_intact(Path(partial) / "run", champion) is None:
            raise SettingsError(f"{champion.run} was published again or removed meanwhile.\nDo it again.")
        if target.exists():  # an earlier copy of the same run, which may be damaged
            target.rename(Path(partial) / "earlier")
        (Path(partial) / "run").rename(target)


def _record(root: Path, change: Change) -> Change:
    add_change(root, change)
    _update_link(root)
    return change


@contextmanager
def _champion_lock(root: Path) -> Iterator[None]:
    """Acquire the exclusive lock of the champion; refuse a folder that cannot be written or has no published runs."""
    check_root(root)
    try:
        with exclusive_lock(root / IN_USE / "champion.lock"):
            yield
    except OSError as error:
        raise SettingsError(
            f"The champion of {root} cannot be changed: {error.strerror or error}.\n{suggest_remedy(error)}"
        ) from error


def check_root(root: Path) -> None:
    """Refuse a folder without published runs, before a lock file is created in it."""
    if not ((root / "runs").exists() or (root / HISTORY).exists()):
        raise SettingsError(
            f"There are no published runs in {root}.\nMake one (make train), or give their folder with --output-dir."
        )
