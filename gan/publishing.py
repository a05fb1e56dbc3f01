"""Published runs: folders that appear whole or not at all, each with a manifest of its files."""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gan.errors import SettingsError, StoreError
from gan.locks import undisturbed
from gan.store import FileRef, sha256_of

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
REPLACE_ATTEMPTS = 5
CONFIG, METRICS, MANIFEST = "config.json", "metrics.json", "manifest.json"
LATEST = "latest"
"""The link to the run of the last command that ended well."""


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
    if not folder.exists():
        return
    try:
        published = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # damaged: publishing the run anew mends it
    if published != config:
        different = sorted(key for key in {*published, *config} if published.get(key) != config.get(key))
        raise SettingsError(
            f"The run name {name!r} is taken by a run with other settings ({', '.join(different)}) in {folder}.\n"
            "Choose another --run-name, or none: the default names a run by its settings."
        )


@contextmanager
def staged_run(root: Path, name: str) -> Iterator[Path]:
    """Yield a folder to fill; when that succeeded it becomes `runs/<name>`.

    An earlier run of that name is replaced.

    Raises:
        StoreError: If the output folder cannot be written (it is full, or not ours); nothing is left behind.
    """
    runs = root / "runs"
    staging: Path | None = None
    try:
        runs.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".partial", dir=runs))
        staging.chmod(0o755)
        yield staging
        with undisturbed(root):  # who looks for what published runs refer to finds the old run or the new one
            _replace(staging, runs / name)
    except OSError as error:
        raise StoreError(
            f"The run {name} could not be published in {runs}: {error.strerror or error}.\n"
            "Nothing of it was left there. Make room or give another --output-dir, and run the same command again."
        ) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


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
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _replace(staging: Path, target: Path) -> None:
    """Put a folder in another's place: for a moment there is none, never half of one."""
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=".old", dir=target.parent) as old:
        for attempt in range(REPLACE_ATTEMPTS):
            earlier = Path(old) / str(attempt)
            try:
                with suppress(FileNotFoundError):
                    target.rename(earlier)
                staging.rename(target)
            except BaseException as error:  # Ctrl-C as well
                with suppress(OSError):
                    earlier.rename(target)  # what was there stays there
                taken = isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST)
                if not taken or attempt == REPLACE_ATTEMPTS - 1:  # taken: an equal run was published in this moment
                    raise
            else:
                return


def point_to_run(root: Path, link: str, name: str) -> None:
    """Make a link in the output folder to `runs/<name>`, relative, so that the folder can be moved."""
    temporary = root / f".{link}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(Path("runs") / name)
    temporary.replace(root / link)
