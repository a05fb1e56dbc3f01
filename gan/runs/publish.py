"""Publish runs: each is a folder that appears completely or not at all, with a manifest of its files."""

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gan.errors import SettingsError, StoreError
from gan.storage.file_system import suggest_remedy
from gan.storage.files import sha256_of
from gan.storage.locks import exclusive_root_lock
from gan.storage.plain_json import to_json
from gan.storage.store import FileRef

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
REPLACED_RUN = re.compile(rf"\.(?P<name>{RUN_NAME.pattern})\.[^.]+\.old")
CONFIG_FILE, METRICS_FILE, MANIFEST_FILE = "config.json", "metrics.json", "manifest.json"


def check_run_name(root: Path, name: str, config: Mapping[str, Any]) -> None:
    """Raise SettingsError if a run's name is invalid, or taken by a run with other settings than `config`."""
    if not RUN_NAME.fullmatch(name):
        raise SettingsError(
            f"The run name {name!r} cannot be a folder name.\n"
            "Use up to 100 letters, digits, dots, dashes and underscores, the first a letter or digit."
        )
    folder = root / "runs" / name
    published = _read_settings(folder)
    if published is None and _is_foreign(folder):
        raise SettingsError(
            f"The run name {name!r} is taken by {folder}, which is not a published run: it has no {CONFIG_FILE} and no "
            f"{MANIFEST_FILE}.\nChoose another --run-name, or move it out of runs/."
        )
    config = json.loads(to_json(config))  # in the form in which it would be published
    if published is not None and published != config:  # a damaged run may be replaced
        different = sorted(key for key in {*published, *config} if published.get(key) != config.get(key))
        raise SettingsError(
            f"The run name {name!r} is taken by a run with other settings ({', '.join(different)}) in {folder}.\n"
            "Choose another --run-name, or none: the default names a run by its settings."
        )


@contextmanager
def staged_run(root: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder for the caller to fill, also with `config.json`; on success it becomes `runs/<name>`.

    It replaces an earlier run of the same name and settings. On failure nothing is left in `runs`.

    Raises:
        SettingsError: If another run has taken the name in the meantime.
        StoreError: If the output folder cannot be written.
    """
    runs = root / "runs"
    staging: Path | None = None
    try:
        runs.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".partial", dir=runs))
        with suppress(OSError):  # a file system without modes
            staging.chmod(0o755)
        yield staging
        with exclusive_root_lock(root):  # nobody prunes, or publishes under this name
            restore_runs_locked(root)
            check_run_name(root, name, _read_settings(staging) or {})
            _replace_folder(staging, runs / name)
    except OSError as error:
        raise StoreError(
            f"The run {name} could not be published in {runs}: {error.strerror or error}.\n"
            f"Nothing of it was left there. {suggest_remedy(error)} Then run the same command again."
        ) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def restore_runs(root: Path) -> None:
    """Restore published runs whose replacement was killed half-way; acquire the exclusive lock if there are any."""
    try:
        if any((root / "runs").glob(".*.old")):
            with exclusive_root_lock(root):
                restore_runs_locked(root)
    except OSError as error:
        raise StoreError(
            f"A run whose replacement was interrupted cannot be restored in {root / 'runs'}: "
            f"{error.strerror or error}.\nRun the command as the owner of the runs, or give another --output-dir."
        ) from error


def restore_runs_locked(root: Path) -> None:
    """Restore published runs whose replacement was killed half-way; the caller holds the exclusive lock.

    `_replace_folder` moved such a run away, and was killed before the new folder took its place. Only the newest run of
    a name is restored.
    """
    hidden = {}
    for path in sorted((root / "runs").glob(".*.old"), key=lambda path: path.lstat().st_mtime):
        match = REPLACED_RUN.fullmatch(path.name)
        if match and (path / MANIFEST_FILE).is_file() and not os.path.lexists(path.with_name(match["name"])):
            hidden[path.with_name(match["name"])] = path
    for target, path in hidden.items():
        path.rename(target)


def publish_run(
    root: Path,
    name: str,
    files: Mapping[str, Path],
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    manifest: Mapping[str, Any],
) -> tuple[FileRef, ...]:
    """Publish a run as `staged_run` does, and return references to all its files.

    Args:
        root: The output folder.
        name: Name of the run.
        files: Files to copy, by their path in the run's folder.
        config: Content of `config.json`.
        metrics: Content of `metrics.json`; the duration of the copying is added to its `timings_seconds`.
        manifest: Content of `manifest.json`; the list of files is added.
    """
    started = time.perf_counter()
    with staged_run(root, name) as folder:
        copy_files(files, folder)
        timings = {**metrics["timings_seconds"], "publish": round(time.perf_counter() - started, 3)}
        write_json(folder / CONFIG_FILE, config)
        write_json(folder / METRICS_FILE, {**metrics, "timings_seconds": timings})
        write_manifest(folder, manifest)
        # Later, another process may have published an equal run under this name.
        references = published_files(folder, name)
    return references


def copy_files(files: Mapping[str, Path], folder: Path) -> None:
    """Copy files to their paths below a folder."""
    for path, source in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / path)


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write `manifest.json`: the given facts, and path, SHA-256 and size of every other file in the folder."""
    write_json(folder / MANIFEST_FILE, {**facts, "files": list(_describe_files(folder))})


def published_files(folder: Path, name: str) -> tuple[FileRef, ...]:
    """Return references to all files in the folder of a run, with their keys as in the published run `name`."""
    return tuple(
        FileRef(key=f"runs/{name}/{file['path']}", sha256=file["sha256"], size=file["size"])
        for file in _describe_files(folder)
    )


def _describe_files(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield path (relative to the folder), SHA-256 and size of every file below a folder."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield {"path": path.relative_to(folder).as_posix(), "sha256": sha256_of(path), "size": path.stat().st_size}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON, with the keys in the order given."""
    path.write_text(to_json(content) + "\n", encoding="utf-8")


def _read_settings(folder: Path) -> dict[str, Any] | None:
    """Return the settings of a run; None if they are missing or damaged."""
    try:
        content = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _is_foreign(path: Path) -> bool:
    """Return whether a path holds something that this project did not make, or that cannot be read."""
    try:
        names = {entry.name for entry in path.iterdir()}
    except OSError:
        return os.path.lexists(path)
    return bool(names) and not names & {CONFIG_FILE, MANIFEST_FILE}


def _replace_folder(staging: Path, target: Path) -> None:
    """Swap two folders, while holding the exclusive lock; `target` may be missing.

    Between the two renames there is nothing at `target`. If the process is killed then, `restore_runs_locked` finds the
    earlier folder by its name.
    """
    earlier = staging.with_suffix(".old")
    try:
        with suppress(FileNotFoundError):
            target.rename(earlier)
        staging.rename(target)
    finally:  # after Ctrl-C as well
        with suppress(FileNotFoundError):
            earlier.rename(staging if target.exists() else target)
