"""Retention: which published runs of an output folder may be removed because they are old.

These are kept:

    recent runs         the runs of the last days, the newest run, and the one that `latest` leads to
    one run a week      the newest of each week among runs whose settings differ only in the seed; a broken one only if
                        the week has no other
    champions           the present one, and those before it that a rollback may return to
    pinned runs         named in kept.txt (`python -m gan.keep`)
    winners             the best run of the first row of every leaderboard
    references          the run that a kept run was compared with
    unknown runs        whose files cannot be read, or are of an earlier version
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gan.errors import SettingsError
from gan.runs.catalog import Entry, read_catalog
from gan.runs.champion import Change, champion_stack, read_history
from gan.runs.manifest import read_run
from gan.runs.publish import RUN_NAME
from gan.runs.sweeps import winners
from gan.storage.files import atomic_path
from gan.storage.links import LATEST, follow_link
from gan.storage.locks import IN_USE, exclusive_lock, shared_root_lock

PINNED = "kept.txt"
DEFAULT_ROLLBACKS = 5


def read_pinned(root: Path) -> tuple[str, ...]:
    """Return the names of the runs that the user has pinned: one a line, in any order."""
    try:
        lines = (root / PINNED).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{root / PINNED} cannot be read: {error}.\nRepair it, or remove it.") from error
    names = [line.strip() for line in lines if line.strip()]
    for name in names:
        if not RUN_NAME.fullmatch(name):
            raise SettingsError(f"{root / PINNED} has the line {name!r}, which cannot be a run's name.\nCorrect it.")
    return tuple(names)


def pin(root: Path, *runs: str, unpin: bool = False) -> None:
    """Pin published runs, so that no retention removes them, or unpin them: all or none of them."""
    # The shared root lock: a pruning in progress ends first, and may have removed a run.
    with exclusive_lock(root / IN_USE / "kept.lock"), shared_root_lock(root):
        pinned = read_pinned(root)
        for run in runs:
            if unpin and run not in pinned:
                raise SettingsError(f"{run} is not pinned in {root}; pinned are: {', '.join(pinned) or 'none'}.")
            if not unpin:
                read_run(root, run)
        names = [name for name in pinned if name not in runs] + ([] if unpin else [*dict.fromkeys(runs)])
        with atomic_path(root / PINNED) as partial:
            partial.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def expired_runs(root: Path, keep_days: int, rollbacks: int, now: float) -> list[str]:
    """Return the names of the published runs that may be removed, the oldest first.

    Args:
        root: The output folder.
        keep_days: Age in days up to which all runs are kept.
        rollbacks: Champions before the present one that are kept.
        now: In seconds since the epoch.
    """
    entries = read_catalog(root)
    recent = datetime.fromtimestamp(now, UTC) - timedelta(days=keep_days)
    kept = {entry.name for entry in entries[-1:]} | {entry.name for entry in entries if entry.published >= recent}
    kept |= {*_one_a_week(entries).values(), follow_link(root / LATEST).name}
    kept |= {change.run for change in kept_champions(root, rollbacks)} | {*read_pinned(root)}
    kept |= winners(root)
    kept |= _references_of(root, kept & {entry.name for entry in entries})
    return [entry.name for entry in entries if entry.name not in kept]


def kept_champions(root: Path, rollbacks: int) -> list[Change]:
    """Return the present champion, and those that so many rollbacks return to."""
    return champion_stack(read_history(root))[-(rollbacks + 1) :]


def _one_a_week(entries: Collection[Entry]) -> dict[tuple[object, ...], str]:
    """Return the newest run of each ISO week, for each set of runs whose numbers can be compared.

    A broken run is only returned if the week has no other.
    """
    ordered = sorted(entries, key=lambda entry: (not entry.is_broken, entry.published))
    return {(*entry.comparison_key, *entry.published.isocalendar()[:2]): entry.name for entry in ordered}


def _references_of(root: Path, names: Collection[str]) -> set[str]:
    references = (read_run(root, name).reference for name in names)
    return {str(reference["name"]) for reference in references if isinstance(reference, dict) and "name" in reference}
