"""The champion: the published run whose generator is used, and how it changes.

<root>/champion             a link to the champion's folder in champions/
<root>/champion.jsonl       one line for every change, the newest last; if the link differs, the history is right
<root>/champions/<folder>/  a copy of the run as it was promoted; a later run of the same name, for example
                            after an edit of the code, does not replace it
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from gan.errors import SettingsError
from gan.judging.gate import Decision
from gan.runs.champion_history import (
    HISTORY,
    Action,
    Change,
    add_change,
    champion_of,
    champion_stack,
    read_history,
    was_promoted,
)
from gan.runs.manifest import AVERAGE_GENERATOR, AVERAGE_SAMPLES, Manifest, check_files, read_manifest
from gan.runs.publish import RUN_NAME
from gan.storage.file_system import link_or_copy, suggest_remedy
from gan.storage.links import CHAMPION, follow_link, set_link
from gan.storage.locks import exclusive_lock, shared_root_lock


def promote(
    root: Path,
    run: str,
    *,
    over: tuple[str, str] | None = None,
    judged: str | None = None,
    by_hand: bool = False,
    reasons: Sequence[str] = (),
) -> Change | None:
    """Make a published run the champion.

    Args:
        root: The output folder.
        run: Name of the run.
        over: Identity of the champion that the run was judged against; None if there was no champion.
        judged: SHA-256 of the averaged generator that was judged.
        by_hand: Whether the user asked for it; then `over` and `judged` are not checked.
        reasons: Reasons of the gate.

    Returns:
        The line of the history that records the promotion. None if, since the run was judged, another run has become
        the champion, or another generator was published under the run's name.

    Raises:
        SettingsError: If the run does not exist, is damaged, or is the champion already.
    """
    generator = _check_published(root, run)
    with _champion_lock(root):
        current = champion_of(root)
        if not by_hand and ((current.identity if current else None) != over or generator != judged):
            return None
        if current and current.identity == (run, generator):
            return _repair_copy(root, current)
        action: Action = "promoted by hand" if by_hand else "promoted"
        change = _new_change(action, run, generator, before=current, reasons=reasons)
        try:
            _copy_run(root, change)
        except SettingsError:
            if by_hand:
                raise
            return None  # another generator was published under the run's name in the meantime
        return _record(root, change)


def roll_back(root: Path) -> Change:
    """Make the previous champion the champion again.

    Raises:
        SettingsError: If there is no previous champion, or its copy is damaged.
    """
    with _champion_lock(root):
        champions = champion_stack(read_history(root))
        if len(champions) < 2:
            state = f"{champions[-1].run} is the first champion" if champions else "There is no champion"
            raise SettingsError(
                f"{state} in {root}; there is no previous one.\nMake another run the champion with: "
                "python -m gan.champion promote NAME"
            )
        current, previous = champions[-1], champions[-2]
        check_champion(root / previous.folder, previous)
        return _record(root, _new_change("rolled back", previous.run, previous.generator, current))


def _new_change(action: Action, run: str, generator: str, before: Change | None, reasons: Sequence[str] = ()) -> Change:
    return Change(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        action=action,
        run=run,
        generator=generator,
        before=before.run if before else None,
        reasons=tuple(reasons),
    )


def check_champion(folder: Path, champion: Change) -> Manifest:
    """Check the copy of a champion in a folder, and return its manifest.

    Raises:
        SettingsError: If the copy is damaged, or is not the run that was promoted.
    """
    try:
        manifest = read_manifest(folder)
        check_files(folder, manifest, AVERAGE_GENERATOR, AVERAGE_SAMPLES)
        intact = manifest.sha256(AVERAGE_GENERATOR) == champion.generator
    except SettingsError:
        intact = False
    if not intact:
        raise SettingsError(
            f"{folder} is damaged, or not what was promoted.\n"
            f"If runs/{champion.run} still exists, restore it: python -m gan.champion promote {champion.run}"
        )
    return manifest


def _repair_copy(root: Path, champion: Change) -> Change:
    """Copy the champion again if its copy is lost or damaged; refuse the promotion if the copy is intact."""
    try:
        check_champion(root / champion.folder, champion)
    except SettingsError:
        _copy_run(root, champion)
        return champion
    else:
        raise SettingsError(f"{champion.run} is the champion already.")
    finally:
        _update_link(root)


def mend_link(root: Path) -> None:
    """Point the link to the champion of the history; a kill, or the user, may have left it wrong."""
    with _champion_lock(root):
        _update_link(root)


def _update_link(root: Path) -> None:
    current = champion_of(root)
    if current is None:
        return
    folder = root / current.folder
    if folder.is_dir() and follow_link(root / CHAMPION) != folder.resolve():
        set_link(root, CHAMPION, current.folder)


def describe_champion_status(root: Path, run: str) -> str:
    """Describe the gate's decision on a published run, and whether the run is, was or never became the champion.

    Raises:
        SettingsError: If the run or the history cannot be read.
    """
    manifest = read_manifest(root / "runs" / run)
    try:
        gate = Decision.model_validate(manifest.gate)
    except ValidationError:
        return "This run was published before the gate existed."
    identity, current = (run, manifest.sha256(AVERAGE_GENERATOR) or ""), champion_of(root)
    if current and current.identity == identity:
        return f"It is the champion. {gate.sentence}"
    if current and was_promoted(root, *identity):
        return f"It was the champion; {current.run} is it now. {gate.sentence}"
    why = " It was not promoted: --no-promote, a sweep that another run has won, or another champion meanwhile."
    return f"{gate.sentence}{why if gate.passes else ''}"


def _check_published(root: Path, run: str) -> str:
    """Check a published run, and return the SHA-256 of its averaged generator."""
    if not RUN_NAME.fullmatch(run):
        raise SettingsError(f"{run!r} cannot be a run's name.\nGive the name of a folder in {root / 'runs'}.")
    manifest = read_manifest(root / "runs" / run)
    check_files(root / "runs" / run, manifest, AVERAGE_GENERATOR, AVERAGE_SAMPLES)
    return manifest.sha256(AVERAGE_GENERATOR) or ""


def _copy_run(root: Path, champion: Change) -> None:
    """Copy a run to the folder of the champion, completely or not at all; files are hard links where possible."""
    target = root / champion.folder
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as partial:
        with shared_root_lock(root):  # nobody replaces the run while it is copied
            link_or_copy(root / "runs" / champion.run, Path(partial) / "run")
        check_champion(Path(partial) / "run", champion)
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
        with exclusive_lock(root / ".in-use" / "champion.lock", on_wait=lambda _: None):
            yield
    except OSError as error:
        raise SettingsError(
            f"The champion of {root} cannot be changed: {error.strerror or error}.\n{suggest_remedy(error)}"
        ) from error


def check_root(root: Path) -> None:
    """Refuse a folder without published runs, before a lock file is created in it."""
    if not any(map(os.path.exists, (root / "runs", root / HISTORY))):
        raise SettingsError(
            f"There are no published runs in {root}.\nMake one (make train), or give their folder with --output-dir."
        )
