"""House-keeping: what of an output folder nobody needs any more, and how much it is.

What is kept, however old:

    runs/<name>            all of it; and in the store all that a manifest names by its SHA-256: files of the run, what
                           it was made of, what it was compared with
    result records         of which every file is named by a manifest, so that the command of a run stays cached
    what is in use         by a run that goes on in another process: `gan.storage.locks`

Else a thing goes when it was not used for so many days. A file is used when it is written, also anew under the same
name; a result record when it is written, and when a stage finds it whole and takes it; what a used record names is kept
with it. So a record that nobody took for that long goes, and with it the files that only it named. What is not ours by
its name or is a link is left alone, and no link is followed.
"""

import json
import os
import re
import shutil
import stat
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from gan.errors import SettingsError, StoreError
from gan.runs.manifest import Manifest
from gan.runs.publish import MANIFEST, bring_back
from gan.storage.locks import exclusive_root_lock_for_removal, is_locked, lock_path, try_exclusive_lock
from gan.storage.store import Store

DAY_SECONDS = 24 * 60 * 60
DEFAULT_DAYS = 30

SHA256 = re.compile("(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
STORED_NAME = re.compile(r"([0-9a-f]{64})[^/]{0,40}")
EVENT_FILES = re.compile(r"train-[0-9a-f]{16}")
UNFINISHED_RUN = re.compile(r"\.(.+)\.[^.]+\.(partial|old)")
UNFINISHED_DOWNLOAD = re.compile(r"\..+\.partial|tmp[a-z0-9_]{8}")


@dataclass(frozen=True)
class Leftover:
    """A file or folder that can go; where it has a lock, only while nobody holds that."""

    path: Path
    kind: str
    size: int
    lock: Path | None = None


@dataclass
class Pruning:
    """What can go, or went, and how much is there.

    Attributes:
        leftovers: What can go, or went.
        failures: What could not be removed, and why.
    """

    leftovers: list[Leftover] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return sum(leftover.size for leftover in self.leftovers)

    def rows(self) -> list[tuple[str, int, int]]:
        """Kind, number and bytes."""
        sizes: dict[str, list[int]] = defaultdict(list)
        for leftover in self.leftovers:
            sizes[leftover.kind].append(leftover.size)
        return [(kind, len(found), sum(found)) for kind, found in sizes.items()]


def prune(root: Path, older_than_days: int, *, dry_run: bool) -> Pruning:
    """Remove what nobody needs from an output folder, while everybody else waits a moment.

    Args:
        root: The output folder.
        older_than_days: Only what was not used for so many days.
        dry_run: Say what would go, and remove nothing.

    Raises:
        SettingsError: If the folder holds no store.
        StoreError: If what a published run needs cannot be known; nothing is removed then.
    """
    store = Store(root.expanduser().absolute())
    if not (store.root / "store").is_dir():
        raise SettingsError(
            f"{root} is no output folder: it has no store.\nGive the one of your runs with --output-dir."
        )
    try:
        with exclusive_root_lock_for_removal(store.root) as (now, in_use_since):
            bring_back(store.root)
            pruning = Pruning(find_leftovers(store, min(now - older_than_days * DAY_SECONDS, in_use_since)))
            if not dry_run:
                _remove(pruning)
    except OSError as error:
        raise StoreError(
            f"{error.filename or root} cannot be read or locked: {error.strerror or error}.\n"
            "Run this as the user whose runs these are."
        ) from error
    return pruning


def disk_use(root: Path) -> tuple[int, int | None]:
    """Bytes below an output folder, and how many of them `prune` would remove by default.

    None stands for what cannot be known. Nothing is hashed, nothing waits.
    """
    used = _size(root)
    try:
        leftovers = find_leftovers(Store(root), time.time() - DEFAULT_DAYS * DAY_SECONDS)
    except (OSError, StoreError):
        return used, None
    return used, sum(leftover.size for leftover in leftovers if leftover.path.is_relative_to(root))


def find_leftovers(store: Store, before: float) -> list[Leftover]:
    """What nobody needs and nobody used since a time.

    Raises:
        StoreError: If a manifest cannot be read.
    """
    published, named = _published(store)
    records, named_by_records = _records(store, published, named, before)
    return [
        *records,
        *_stored_files(store, named | named_by_records, before),
        *_scratch(store, before),
        *_event_files(store, before),
        *_unfinished(store, before),
    ]


def _published(store: Store) -> tuple[set[str], set[str]]:
    """Names of the published runs, and all SHA-256 in their manifests.

    A run that is a link, to another drive say, counts as well: it is only read.

    Raises:
        StoreError: If a manifest is missing or damaged: what its run needs is not known then.
    """
    names, named = set(), set()
    runs = store.root / "runs"
    for folder in sorted(runs.iterdir()) if runs.exists() or runs.is_symlink() else []:
        if folder.name.startswith(".") or (not folder.is_dir() and not folder.is_symlink()):
            continue
        try:
            text = (folder / MANIFEST).read_text(encoding="utf-8")
            Manifest.model_validate_json(text)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"The {MANIFEST} of the published run {str(folder)!r} cannot be read, so what the run needs is "
                "not known.\nNothing was removed. Run the command that made the run again, which mends it, or move its "
                "folder out of runs/."
            ) from error
        names.add(folder.name)
        named.update(SHA256.findall(text))
    return names, named


def _records(store: Store, published: set[str], named: set[str], before: float) -> tuple[list[Leftover], set[str]]:
    """Result records that can go, and the SHA-256 that the others name.

    Nothing is made of a record but what its JSON says; one that is new and cannot be understood may be of newer code,
    so whatever it names is kept.
    """
    leftovers, kept = [], set()
    for path in _files_in(store.results_dir):
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.lstat().st_mtime >= before or _is_of_published(store, text, published, named):
            kept.update(SHA256.findall(text))
        else:
            leftovers.append(Leftover(path, "result records", _size(path)))
    return leftovers, kept


def _is_of_published(store: Store, text: str, published: set[str], named: set[str]) -> bool:
    """Whether a record names only files of published runs, and all of them are there."""
    try:
        refs = list(_refs(json.loads(json.loads(text)["result"])))
        return bool(refs) and all(
            (sha256 in named or (key.startswith("runs/") and key.split("/")[1] in published))
            and (store.root / key).is_file()
            for key, sha256 in refs
        )
    except (ValueError, TypeError, KeyError, IndexError, OSError, RecursionError):
        return False  # damaged: no stage takes it


def _refs(value: Any) -> Iterator[tuple[str, str]]:
    """Key and SHA-256 of every reference in plain JSON values."""
    if isinstance(value, dict):
        if value.keys() == {"key", "sha256", "size"}:
            yield str(value["key"]), str(value["sha256"])
        else:
            for item in value.values():
                yield from _refs(item)
    elif isinstance(value, list):
        for item in value:
            yield from _refs(item)


def _stored_files(store: Store, named: set[str], before: float) -> Iterator[Leftover]:
    for folder in _folders_in(store.root / "store"):
        for path in _files_in(folder):
            match = STORED_NAME.fullmatch(path.name)
            if match is None or match[1][:2] != folder.name or match[1] in named:
                continue
            if path.lstat().st_mtime < before:
                yield Leftover(path, "stored files", _size(path))


def _scratch(store: Store, before: float) -> Iterator[Leftover]:
    """Unfinished work of killed runs, and lock files that nobody holds."""
    scratch = store.scratch_dir("any").parent
    for folder in _folders_in(scratch):
        if _newest(folder) < before and not is_locked(lock_path(folder)):
            yield Leftover(folder, "checkpoints of runs that were not finished", _size(folder), lock_path(folder))
    for path in _files_in(scratch):
        if path.suffix == ".lock" and path.lstat().st_mtime < before and not is_locked(path):
            yield Leftover(path, "lock files of killed runs", _size(path), path)


def _event_files(store: Store, before: float) -> Iterator[Leftover]:
    """What trainings wrote for TensorBoard: no run needs it again."""
    for folder in _folders_in(store.root / "tensorboard"):
        if EVENT_FILES.fullmatch(folder.name) and _newest(folder) < before:
            yield Leftover(folder, "event files for TensorBoard", _size(folder))


def _unfinished(store: Store, before: float) -> Iterator[Leftover]:
    """Files, runs and downloads that a kill left half-written."""
    candidates = [(path, "half-written files") for path in _entries(store.partial_dir)]
    for path in _entries(store.root / "runs"):
        match = UNFINISHED_RUN.fullmatch(path.name)
        if match and (match[2] == "partial" or (path.parent / match[1]).is_dir()):  # else the old one is all there is
            candidates.append((path, "half-published runs"))
    links = [path for path in _entries(store.root) if path.name.startswith((".latest.", ".champion."))]
    champions = [path for path in _entries(store.root / "champions") if path.name.startswith(".")]
    candidates += [(path, "half-written files") for path in (*links, *champions)]
    for folder in _folders_in(user_cache_path("fashion-gan")):
        downloads = (path for path in _files_in(folder) if UNFINISHED_DOWNLOAD.fullmatch(path.name))
        candidates += [(path, "half-finished downloads") for path in downloads]
    for path, kind in candidates:
        if _newest(path) < before:
            yield Leftover(path, kind, _size(path))


def _remove(pruning: Pruning) -> None:
    """Remove what was found; what cannot be removed stays, and is told."""
    for leftover in list(pruning.leftovers):
        try:
            with try_exclusive_lock(leftover.lock) if leftover.lock else nullcontext(True) as free:
                if not free:
                    pruning.leftovers.remove(leftover)
                elif leftover.path.is_dir() and not leftover.path.is_symlink():
                    shutil.rmtree(leftover.path)
                else:
                    leftover.path.unlink(missing_ok=True)
        except OSError as error:
            pruning.leftovers.remove(leftover)
            pruning.failures.append(f"{str(leftover.path)!r}: {error.strerror or error}")


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder; nothing if there is none, or a link in its place."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(folder.iterdir())


def _files_in(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_file() and not path.is_symlink()]


def _folders_in(folder: Path) -> list[Path]:
    visible = (path for path in _entries(folder) if not path.name.startswith("."))
    return [path for path in visible if path.is_dir() and not path.is_symlink()]


def _walk(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """A path and all below it with their figures, no link followed; what goes meanwhile is passed over."""
    waiting = [path]
    while waiting:
        path = waiting.pop()
        try:
            yield path, path.lstat()
            waiting += _entries(path)
        except OSError:
            continue


def _newest(path: Path) -> float:
    return max((figures.st_mtime for _, figures in _walk(path)), default=0.0)


def _size(path: Path) -> int:
    """Bytes of the files there; one with several names, as the champion's have, counts once."""
    files = (figures for _, figures in _walk(path) if not stat.S_ISDIR(figures.st_mode))
    return sum({(figures.st_dev, figures.st_ino): figures.st_size for figures in files}.values())
