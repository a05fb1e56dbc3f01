"""Pruning: find and remove what nobody needs any more in an output folder.

Three things are kept, whatever their age:

    published runs         all files in runs/<name>, and all stored files whose SHA-256 is in a manifest: what the run
                           was made from, and what it was compared with
    their result records   all files of such a record are named by a manifest, so the run's command stays cached
    files in use           by a run of another process (`gan.storage.locks`)

Everything else is removed if it was not used for a number of days. Writing a stored file counts as use, also if the
file exists already. A result record is used when it is written, and when a stage finds its files intact and takes it
from the cache. A used record keeps the files that it names. Links are neither followed nor removed, and files with
names that this project does not give are left alone.

With `keep_days`, published runs that are old are removed too (`gan.runs.retention` says which), and copies of champions
that no rollback returns to; but nothing of this while a run is in progress, which may use any of them.
"""

import hashlib
import itertools
import json
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from gan.errors import SettingsError, StoreError
from gan.runs.disk import DAY_SECONDS
from gan.runs.manifest import Manifest
from gan.runs.publish import MANIFEST_FILE, restore_runs_locked
from gan.runs.retention import DEFAULT_ROLLBACKS, expired_runs, kept_champions
from gan.storage.folders import entries, files_in, folders_in, newest_change, size_of
from gan.storage.locks import exclusive_root_lock_for_removal, is_locked, lock_path, try_exclusive_lock
from gan.storage.store import Store

DEFAULT_DAYS = 30
RUNS = "published runs"

SHA256 = re.compile("(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
STORED_NAME = re.compile(r"([0-9a-f]{64})[^/]{0,40}")
EVENT_FILES = re.compile(r"train-[0-9a-f]{16}")
UNFINISHED_RUN = re.compile(r"\.(.+)\.[^.]+\.(partial|old)")
REMOVED = ".removed"
"""Suffix of a folder whose removal has begun."""

HALF_WRITTEN = re.compile(r"\..+\.partial|\.probe\..+")
"""Files that `atomic_path` writes, and folders in which a file system is tried."""

UNFINISHED_DOWNLOAD = re.compile(r"\..+\.partial|tmp[a-z0-9_]{8}")


@dataclass(frozen=True)
class Leftover:
    """A file or folder that can be removed. If it has a lock file, nobody may hold the lock."""

    path: Path
    category: str
    size: int
    lock: Path | None = None


@dataclass
class Pruning:
    """The result of pruning."""

    leftovers: list[Leftover] = field(default_factory=list)  # removed, or with a dry run only found
    failures: list[str] = field(default_factory=list)  # files that could not be removed, with the reason
    leaves_runs: bool = False  # whether runs of any age were kept, because a run in progress may use them

    @property
    def runs(self) -> list[str]:
        """Names of the published runs among the leftovers, the oldest first."""
        return [leftover.path.name for leftover in self.leftovers if leftover.category == RUNS]

    @property
    def size(self) -> int:
        """Size of all leftovers in bytes."""
        return sum(leftover.size for leftover in self.leftovers)

    def rows(self) -> list[tuple[str, int, int]]:
        """Return category, number of leftovers and size in bytes, a row for each category."""
        sizes: defaultdict[str, list[int]] = defaultdict(list)
        for leftover in self.leftovers:
            sizes[leftover.category].append(leftover.size)
        return [(category, len(found), sum(found)) for category, found in sizes.items()]


def prune(
    root: Path,
    older_than_days: int,
    *,
    keep_days: int | None = None,
    rollbacks: int = DEFAULT_ROLLBACKS,
    dry_run: bool,
) -> Pruning:
    """Remove what nobody needs from an output folder, while holding the exclusive lock on it.

    Args:
        root: The output folder.
        older_than_days: Days since the last use after which a file is removed.
        keep_days: Age in days up to which all published runs are kept; None to keep all of any age.
        rollbacks: Champions before the present one that are kept, if `keep_days` is given.
        dry_run: Whether to find the leftovers and remove nothing.

    Raises:
        SettingsError: If the folder has no store.
        StoreError: If a manifest cannot be read, so that the needs of its run are unknown; then nothing is removed.
    """
    store = Store(root.resolve())  # the folder itself may be a link
    if not (store.root / "store").is_dir():
        raise SettingsError(
            f"{root} is not an output folder: it has no store.\nGive the folder of your runs with --output-dir."
        )
    try:
        with exclusive_root_lock_for_removal(store.root) as (now, in_use_since):
            restore_runs_locked(store.root)
            before = min(now - older_than_days * DAY_SECONDS, in_use_since or now)
            runs, copies = list[Leftover](), list[Leftover]()
            if keep_days is not None and in_use_since is None:  # a run in progress may use any published run
                runs = _find_expired(store.root, keep_days, rollbacks, now)
                copies = _find_former_champions(store.root, rollbacks, now - max(1, keep_days) * DAY_SECONDS)
            names = {leftover.path.name for leftover in runs}
            found = [*runs, *copies, *find_leftovers(store, before, names)]
            pruning = Pruning(found, leaves_runs=keep_days is not None and in_use_since is not None)
            if not dry_run:
                _remove(pruning)
    except OSError as error:
        raise StoreError(
            f"{error.filename or root} cannot be read or locked: {error.strerror or error}.\n"
            "Run this as the user who owns the runs."
        ) from error
    return pruning


def disk_use(root: Path) -> tuple[int, int | None]:
    """Return the size of an output folder in bytes, and how many of them `prune` would remove by default.

    The second number is None if a manifest cannot be read. No file is hashed and no lock is acquired.
    """
    root = root.resolve()  # it may be a link
    used = size_of(root)
    try:
        leftovers = find_leftovers(Store(root), time.time() - DEFAULT_DAYS * DAY_SECONDS)
    except (OSError, StoreError):
        return used, None
    return used, sum(leftover.size for leftover in leftovers if leftover.path.is_relative_to(root))


def find_leftovers(store: Store, before: float, expired: Collection[str] = ()) -> list[Leftover]:
    """Find what nobody needs or has used since `before` (seconds since the epoch); all manifests must be readable.

    `expired` are names of published runs that are about to be removed: nothing is kept for them.
    """
    published, named = read_published(store, expired)
    records, named_by_records = _find_records(store, published, named, before)
    return [
        *records,
        *_find_stored_files(store, named | named_by_records, before),
        *_find_training_files(store, before),
        *_find_unfinished(store, before),
    ]


def _find_expired(root: Path, keep_days: int, rollbacks: int, now: float) -> list[Leftover]:
    """Find the published runs that are no longer kept."""
    runs = (root / "runs" / name for name in expired_runs(root, keep_days, rollbacks, now))
    return [Leftover(path, RUNS, size_of(path)) for path in runs if not path.is_symlink()]


def _find_former_champions(root: Path, rollbacks: int, before: float) -> list[Leftover]:
    """Find the copies of champions that were made before a time and that no rollback returns to."""
    kept = {Path(change.folder).name for change in kept_champions(root, rollbacks)}
    if not kept:
        return []  # the history was moved away: it is unknown what the copies are
    copies = [folder for folder in folders_in(root / "champions") if folder.name not in kept]
    made_before = [folder for folder in copies if folder.stat().st_mtime < before]
    return [Leftover(folder, "copies of former champions", size_of(folder)) for folder in made_before]


def read_published(store: Store, expired: Collection[str]) -> tuple[set[str], set[str]]:
    """Return the names of the published runs that stay, and the SHA-256 of their manifests and of all files in these.

    A run may also be a link, for example to another drive, since it is only read.
    """
    names: set[str] = set()
    named: set[str] = set()
    runs = store.root / "runs"
    for folder in sorted(runs.iterdir()) if runs.exists() or runs.is_symlink() else []:
        is_folder = folder.is_dir() or folder.is_symlink()
        if folder.name.startswith(".") or folder.name in expired or not is_folder:
            continue
        try:
            content = (folder / MANIFEST_FILE).read_bytes()
            text = content.decode()
            Manifest.model_validate_json(text)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"The {MANIFEST_FILE} of the published run {str(folder)!r} cannot be read, so it is unknown what the "
                "run needs.\nNothing was removed. Run the command that made the run again, which repairs it, or move "
                "its folder out of runs/."
            ) from error
        names.add(folder.name)
        named.update(SHA256.findall(text), {hashlib.sha256(content).hexdigest()})
    return names, named


def _find_records(store: Store, published: set[str], named: set[str], before: float) -> tuple[list[Leftover], set[str]]:
    """Return the result records that can be removed, and every SHA-256 in the records that stay.

    Records are only searched as text or parsed as JSON, and never become objects. A recent record keeps the files that
    it names even if it cannot be parsed, since a newer version of the code may have written it.
    """
    leftovers, kept = [], set()
    for path in files_in(store.results_dir):
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.lstat().st_mtime >= before or _belongs_to_published(store, text, published, named):
            kept.update(SHA256.findall(text))
        else:
            leftovers.append(Leftover(path, "result records", size_of(path)))
    return leftovers, kept


def _belongs_to_published(store: Store, record: str, published: set[str], named: set[str]) -> bool:
    """Return whether a record names only files of published runs, and all these files exist."""
    try:
        refs = list(file_refs(json.loads(json.loads(record)["result"])))
        return bool(refs) and all(
            (sha256 in named or (key.startswith("runs/") and key.split("/")[1] in published))
            and (store.root / key).is_file()
            for key, sha256 in refs
        )
    except (ValueError, TypeError, KeyError, IndexError, OSError, RecursionError):
        return False  # a damaged record, which no stage takes


def file_refs(value: Any) -> Iterator[tuple[str, str]]:
    """Yield key and SHA-256 of every file reference in a JSON value."""
    if isinstance(value, dict) and value.keys() == {"key", "sha256", "size"}:
        yield str(value["key"]), str(value["sha256"])
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from file_refs(item)


def _find_stored_files(store: Store, named: set[str], before: float) -> Iterator[Leftover]:
    for folder in folders_in((store.root / "store").resolve()):  # on another disk, perhaps, by a link
        for path in files_in(folder):
            match = STORED_NAME.fullmatch(path.name)
            if match and match[1][:2] == folder.name and match[1] not in named and path.lstat().st_mtime < before:
                yield Leftover(path, "stored files", size_of(path))


def _find_training_files(store: Store, before: float) -> Iterator[Leftover]:
    scratch = store.scratch_root
    for folder in folders_in(scratch):
        if newest_change(folder) < before and not is_locked(lock_path(folder)):
            yield Leftover(folder, "checkpoints of runs that were not finished", size_of(folder), lock_path(folder))
    for path in files_in(scratch):
        if path.suffix == ".lock" and path.lstat().st_mtime < before and not is_locked(path):
            yield Leftover(path, "lock files of killed runs", size_of(path), path)
    for folder in folders_in(store.root / "tensorboard"):
        if EVENT_FILES.fullmatch(folder.name) and newest_change(folder) < before:
            yield Leftover(folder, "event files for TensorBoard", size_of(folder))


def _find_unfinished(store: Store, before: float) -> Iterator[Leftover]:
    """Yield files, runs and downloads that a kill left incomplete."""
    links = [path for path in entries(store.root) if path.name.startswith((".latest.", ".champion."))]
    champions = [path for path in entries(store.root / "champions") if path.name.startswith(".")]
    written_to = [store.root / name for name in ("", "comparisons", ".results", "scratch")]
    written_to += folders_in(store.root / "sweeps")
    pages = [path for folder in written_to for path in entries(folder) if HALF_WRITTEN.fullmatch(path.name)]
    halves = entries(store.partial_dir), links, champions, pages
    candidates = [(path, "half-written files") for path in dict.fromkeys(itertools.chain(*halves))]
    for path in entries(store.root / "runs"):
        match = UNFINISHED_RUN.fullmatch(path.name)
        if path.name.startswith(".") and path.suffix == REMOVED:
            candidates.append((path, "half-removed runs"))
        # An earlier run whose replacement was killed stays if nothing is in its place.
        if match and (match[2] == "partial" or (path.parent / match[1]).is_dir()):
            candidates.append((path, "half-published runs"))
    for folder in folders_in(user_cache_path("fashion-gan")):
        downloads = (path for path in files_in(folder) if UNFINISHED_DOWNLOAD.fullmatch(path.name))
        candidates += [(path, "half-finished downloads") for path in downloads]
    for path, category in candidates:
        if newest_change(path) < before or path.suffix == REMOVED:
            yield Leftover(path, category, size_of(path))


def _remove(pruning: Pruning) -> None:
    """Remove the leftovers; those that cannot be removed become failures."""
    for leftover in list(pruning.leftovers):
        try:
            with try_exclusive_lock(leftover.lock) if leftover.lock else nullcontext(True) as free:
                if not free:
                    pruning.leftovers.remove(leftover)
                elif leftover.path.is_dir() and not leftover.path.is_symlink():
                    shutil.rmtree(_hidden(leftover.path))
                else:
                    leftover.path.unlink(missing_ok=True)
        except OSError as error:
            pruning.leftovers.remove(leftover)
            pruning.failures.append(f"{str(leftover.path)!r}: {error.strerror or error}")


def _hidden(folder: Path) -> Path:
    """Rename a run or a champion's copy, so that a kill during its removal leaves no half of it; return its new path.

    The next pruning removes a folder with such a name, whatever its age (`_find_unfinished`).
    """
    if folder.parent.name not in ("runs", "champions"):
        return folder
    return folder.rename(folder.with_name(f".{folder.name}.{time.time_ns()}{REMOVED}"))
