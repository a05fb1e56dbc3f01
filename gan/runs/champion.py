"""The champion: the published run whose generator is used, and how it became that.

    <root>/champion             a link to the champion's folder in champions/
    <root>/champion.jsonl       every change, a line each, the newest last; what it says counts, the link follows
    <root>/champions/<folder>/  the run as it was when it was promoted: a run of the same name that is published later,
                                by other code say, does not take its place

python -m gan.champion show
python -m gan.champion promote NAME
python -m gan.champion rollback
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
from gan.runs.champion_history import HISTORY, Change, add_change, champion_of, champions_in, read_history, was_promoted
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
        run: Its name.
        over: Identity of the champion that it was judged against; it must still be that, unless this is done by hand.
        judged: SHA-256 of the averaged generator that was judged; None for whatever the run has now.
        by_hand: A person says so.
        reasons: What the gate said.

    Returns:
        The line of the history that made it one; None if another run has become the champion since it was judged, or
        another one was published under its name.

    Raises:
        SettingsError: If the run is not there, or not whole, or is the champion (and that is whole).
    """
    generator = _check_published(root, run)
    with _alone(root):
        present = champion_of(root)
        if not by_hand and ((present.identity if present else None) != over or generator != judged):
            return None
        if present and present.identity == (run, generator):
            return _restored(root, present)
        change = Change(
            at=_now(),
            action="promoted by hand" if by_hand else "promoted",
            run=run,
            generator=generator,
            before=present.run if present else None,
            reasons=tuple(reasons),
        )
        try:
            _keep(root, change)
        except SettingsError:
            if by_hand:
                raise
            return None  # another one was published under its name just now
        return _write(root, change)


def roll_back(root: Path) -> Change:
    """Make the champion before the present one the champion again.

    Raises:
        SettingsError: If there is none before it, or it is not whole any more.
    """
    with _alone(root):
        champions = champions_in(read_history(root))
        if len(champions) < 2:
            present = f"{champions[-1].run} is the first champion" if champions else "There is no champion"
            raise SettingsError(
                f"{present} in {root}; there is none before it.\nMake another run the champion with: "
                "python -m gan.champion promote NAME"
            )
        earlier = champions[-2]
        check_champion(root, earlier)
        return _write(
            root,
            Change(
                at=_now(),
                action="rolled back",
                run=earlier.run,
                generator=earlier.generator,
                before=champions[-1].run,
            ),
        )


def check_champion(root: Path, champion: Change) -> Manifest:
    """The manifest of a champion that is whole, and the one that was promoted.

    Raises:
        SettingsError: If it is not.
    """
    return _check_folder(root / champion.folder, champion)


def _check_folder(folder: Path, champion: Change) -> Manifest:
    try:
        manifest = read_manifest(folder)
        check_files(folder, manifest, AVERAGE_GENERATOR, AVERAGE_SAMPLES)
        whole = manifest.sha256(AVERAGE_GENERATOR) == champion.generator
    except SettingsError:
        whole = False
    if not whole:
        raise SettingsError(
            f"{folder} is damaged, or not what was promoted.\n"
            f"If runs/{champion.run} is still there, bring it back: python -m gan.champion promote {champion.run}"
        )
    return manifest


def _restored(root: Path, present: Change) -> Change:
    """The champion, kept anew if what was kept of it is lost or damaged.

    Raises:
        SettingsError: If it is not.
    """
    try:
        check_champion(root, present)
    except SettingsError:
        _keep(root, present)
        _mend_link(root)
        return present
    _mend_link(root)
    raise SettingsError(f"{present.run} is the champion already.")


def mend_link(root: Path) -> None:
    """Let the link follow the history, if a kill came between the two or somebody has removed it."""
    with _alone(root):
        _mend_link(root)


def _mend_link(root: Path) -> None:
    present = champion_of(root)
    if (
        present
        and (root / present.folder).is_dir()
        and follow_link(root / CHAMPION) != (root / present.folder).resolve()
    ):
        set_link(root, CHAMPION, present.folder)


def describe_standing(root: Path, run: str) -> str:
    """What the gate has said of a published run, and what became of that, for people.

    Raises:
        SettingsError: If the run or the history cannot be read.
    """
    manifest = read_manifest(root / "runs" / run)
    try:
        gate = Decision.model_validate(manifest.gate)
    except ValidationError:
        return "This run was published before there was a gate."
    identity, present = (run, manifest.sha256(AVERAGE_GENERATOR) or ""), champion_of(root)
    if present and present.identity == identity:
        return f"It is the champion. {gate.sentence}"
    if present and was_promoted(root, *identity):
        return f"It was the champion; {present.run} is it now. {gate.sentence}"
    why = " It was not promoted: --no-promote, a sweep that another run has won, or another champion meanwhile."
    return f"{gate.sentence}{why if gate.passes else ''}"


def _check_published(root: Path, run: str) -> str:
    """SHA-256 of the averaged generator of a whole published run."""
    if not RUN_NAME.fullmatch(run):
        raise SettingsError(f"{run!r} cannot be a run's name.\nGive the name of a folder in {root / 'runs'}.")
    manifest = read_manifest(root / "runs" / run)
    check_files(root / "runs" / run, manifest, AVERAGE_GENERATOR, AVERAGE_SAMPLES)
    return manifest.sha256(AVERAGE_GENERATOR) or ""


def _keep(root: Path, champion: Change) -> None:
    """Keep a run as it is now, whole or not at all; files that cannot be linked are copied.

    Raises:
        SettingsError: If another one was published under its name meanwhile.
    """
    target = root / champion.folder
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as partial:
        with shared_root_lock(root):  # nobody replaces the run
            link_or_copy(root / "runs" / champion.run, Path(partial) / "run")
        _check_folder(Path(partial) / "run", champion)
        if target.exists():  # it was the champion before, and may have been damaged since
            target.rename(Path(partial) / "earlier")
        (Path(partial) / "run").rename(target)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(root: Path, change: Change) -> Change:
    """Add a line to the history, and let the link follow."""
    add_change(root, change)
    _mend_link(root)
    return change


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One change at a time.

    Raises:
        SettingsError: If the folder cannot be written, or is none with published runs.
    """
    check_root(root)
    try:
        with exclusive_lock(root / ".in-use" / "champion.lock", on_wait=lambda _: None):
            yield
    except OSError as error:
        raise SettingsError(
            f"The champion of {root} cannot be changed: {error.strerror or error}.\n{suggest_remedy(error)}"
        ) from error


def check_root(root: Path) -> None:
    """Refuse a folder that no run was published in, before a lock is made in it."""
    if not any(map(os.path.exists, (root / "runs", root / HISTORY))):
        raise SettingsError(
            f"There are no published runs in {root}.\nMake one (make train), or give their folder with --output-dir."
        )
