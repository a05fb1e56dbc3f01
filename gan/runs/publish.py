"""Published runs: folders that appear whole or not at all, each with a manifest of its files."""

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
from gan.formatting import plain_number
from gan.storage.file_system import suggest_remedy
from gan.storage.files import sha256_of
from gan.storage.locks import exclusive_root_lock
from gan.storage.plain_json import to_json
from gan.storage.store import FileRef

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
REPLACED_RUN = re.compile(rf"\.(?P<name>{RUN_NAME.pattern})\.[^.]+\.old")
CONFIG, METRICS, MANIFEST = "config.json", "metrics.json", "manifest.json"


def check_run_name(root: Path, name: str, config: Mapping[str, Any]) -> None:
    """Refuse a name that is unusable, or taken by a run with other settings.

    Args:
        root: The output folder.
        name: The run's name.
        config: Its settings, as they will be published; the same settings mean the same run, which may be renewed.

    Raises:
        SettingsError: If the name cannot be used.
    """
    if not RUN_NAME.fullmatch(name):
        raise SettingsError(
            f"The run name {name!r} cannot be a folder's.\n"
            "Use up to 100 letters, digits, dots, dashes and underscores, the first a letter or digit."
        )
    folder = root / "runs" / name
    published = _settings_in(folder)
    if published is None:
        if _is_foreign(folder):
            raise SettingsError(
                f"The run name {name!r} is taken by {folder}, which is no published run: no {CONFIG} and no {MANIFEST} "
                "can be found in it.\nChoose another --run-name, or move it out of runs/."
            )
        return  # there is none, or it is damaged: publishing the run anew mends it
    config = json.loads(to_json(config))  # as it would be published
    if published != config:
        different = sorted(key for key in {*published, *config} if published.get(key) != config.get(key))
        raise SettingsError(
            f"The run name {name!r} is taken by a run with other settings ({', '.join(different)}) in {folder}.\n"
            "Choose another --run-name, or none: the default names a run by its settings."
        )


@contextmanager
def staged_run(root: Path, name: str) -> Iterator[Path]:
    """Yield a folder to fill, `config.json` among it; when that succeeded it becomes `runs/<name>`.

    An earlier run of that name with the same settings is replaced.

    Raises:
        SettingsError: If the name cannot be used, or was taken meanwhile.
        StoreError: If the output folder cannot be written (it is full, or not ours); nothing is left behind.
    """
    runs = root / "runs"
    staging: Path | None = None
    try:
        runs.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".partial", dir=runs))
        with suppress(OSError):  # a file system without modes
            staging.chmod(0o755)
        yield staging
        with exclusive_root_lock(root):  # nobody looks for what published runs refer to, or publishes under this name
            bring_back(root)
            check_run_name(root, name, _settings_in(staging) or {})
            _exchange(staging, runs / name)
    except OSError as error:
        raise StoreError(
            f"The run {name} could not be published in {runs}: {error.strerror or error}.\n"
            f"Nothing of it was left there. {suggest_remedy(error)} Then run the same command again."
        ) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def restore_runs(root: Path) -> None:
    """Bring back runs that a kill in the middle of their replacement has hidden, before anybody looks for them.

    Raises:
        StoreError: If the output folder cannot be written.
    """
    try:
        if any((root / "runs").glob(".*.old")):
            with exclusive_root_lock(root):
                bring_back(root)
    except OSError as error:
        raise StoreError(
            f"A run that was being replaced cannot be brought back in {root / 'runs'}: {error.strerror or error}.\n"
            "Run this as the user whose runs these are, or give another --output-dir."
        ) from error


def bring_back(root: Path) -> None:
    """The same, by who is alone in the output folder (`gan.storage.locks`)."""
    for target, hidden in _hidden_runs(root).items():
        hidden.rename(target)


def _hidden_runs(root: Path) -> dict[Path, Path]:
    """Runs that were out of the way when their replacement was killed, by the place that is empty; of two the newer."""
    found = {}
    for path in sorted((root / "runs").glob(".*.old"), key=lambda path: path.lstat().st_mtime):
        match = REPLACED_RUN.fullmatch(path.name)
        if match and (path / MANIFEST).is_file() and not os.path.lexists(path.with_name(match["name"])):
            found[path.with_name(match["name"])] = path
    return found


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
        write_json(folder / CONFIG, config)
        write_json(folder / METRICS, {**metrics, "timings_seconds": timings})
        write_manifest(folder, manifest)
    return published_files(root, name)


def copy_files(files: Mapping[str, Path], folder: Path) -> None:
    """Copy files to their paths below a folder."""
    for path, source in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / path)


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write `manifest.json`: `facts`, and `files`, path, SHA-256 and size of every other file in the folder."""
    files = [
        {"path": path.relative_to(folder).as_posix(), "sha256": sha256_of(path), "size": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    write_json(folder / MANIFEST, {**facts, "files": files})


def published_files(root: Path, name: str) -> tuple[FileRef, ...]:
    """References to all files of a published run, keys below the output folder."""
    folder = root / "runs" / name
    return tuple(
        FileRef(key=path.relative_to(root).as_posix(), sha256=sha256_of(path), size=path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON for people: indented, in the order given."""
    path.write_text(to_json(content) + "\n", encoding="utf-8")


def _settings_in(folder: Path) -> dict[str, Any] | None:
    """What a run says its settings are; None if that is missing or damaged."""
    try:
        text = (folder / CONFIG).read_text(encoding="utf-8")
        content = json.loads(text, parse_float=lambda digits: float(plain_number(float(digits))))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _is_foreign(path: Path) -> bool:
    """Whether there is something that is not ours to replace: no folder, one that is closed, one of other things."""
    try:
        names = {entry.name for entry in path.iterdir()}
    except OSError:
        return os.path.lexists(path)
    return bool(names) and not names & {CONFIG, MANIFEST}


def _exchange(staging: Path, target: Path) -> None:
    """Put a folder in another's place, which gets the first one's name, to be removed; by who is alone.

    For a moment there is none in that place, never half of one. `bring_back` knows the earlier one by its name if a
    kill makes that moment last.
    """
    earlier = staging.with_suffix(".old")
    try:
        with suppress(FileNotFoundError):
            target.rename(earlier)
        staging.rename(target)
    finally:  # after Ctrl-C as well
        with suppress(FileNotFoundError):
            earlier.rename(staging if target.exists() else target)
