"""The manifest of a published run: its content, and its reading as untrusted input.

The folder of a run may have been moved, altered or forged.
"""

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from pydantic import BaseModel

from gan.config import DEFAULT_OUTPUT_DIR, PROJECT_ROOT, RunConfig
from gan.errors import SettingsError
from gan.runs.publish import MANIFEST_FILE, RUN_NAME
from gan.storage.files import sha256_of

GENERATOR, AVERAGE_GENERATOR, EXTRACTOR = "generator.keras", "generator_average.keras", "extractor.keras"
SAMPLES, AVERAGE_SAMPLES = "samples.npz", "samples_average.npz"
DATA_SUMMARY = "data_summary.json"
FEATURE_EXTRACTOR = "feature extractor"

OTHER_REPOSITORY = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"})
"""Variables that name the repository of a git hook in which a command runs."""


@dataclass(frozen=True)
class Provenance:
    """The data, the files and the circumstances of a run."""

    dataset: str
    source: str | int | float | None  # of the data set's files
    sha256: Mapping[str, Mapping[str, str]]  # of the normalized arrays, by split and content ("images", "labels")
    networks: Mapping[str, str]  # SHA-256 by title
    extractor_accuracy: str | int | float | None  # share of the test images, if the pipeline has fitted the extractor
    training: Mapping[str, str | int | float]  # facts about the training
    seconds: Mapping[str, float]  # duration of each stage


def manifest_content(run: RunConfig, made_from: Provenance, *, libraries: Iterable[str]) -> dict[str, Any]:
    """Return the part of `manifest.json` that describes a run, its data, its code and the installed `libraries`."""
    return {
        "run": run.name,
        "published": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": run.train.recipe.name,
        "seed": run.train.seed,
        "device": made_from.training.get("device"),
        "engine": made_from.training.get("engine"),
        "data": {"name": made_from.dataset, "source": made_from.source, "sha256": made_from.sha256},
        "code": code_version(),
        "python": python_version(),
        "libraries": {name: version(name) for name in sorted(libraries)},
    }


def code_version() -> dict[str, Any]:
    """Return the commit of the code, and whether files differ from it; nulls outside of its own git repository."""
    try:
        return {"commit": run_git("rev-parse", "HEAD").strip(), "modified": bool(run_git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "modified": None}


def run_git(*arguments: str) -> str:
    """Return what git prints about the repository of this code.

    Raises:
        OSError: If there is no git.
        subprocess.SubprocessError: If git fails, as where the code is not at the top of a repository, but perhaps in
            one of another project; or if it does not answer in 20 s.
    """
    env = {name: value for name, value in os.environ.items() if name not in OTHER_REPOSITORY}
    env["GIT_CEILING_DIRECTORIES"] = str(PROJECT_ROOT.parent)  # where git does not look for a repository
    command = ["git", "-C", str(PROJECT_ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, check=True, timeout=20, env=env)
    return done.stdout.decode(errors="replace")


class PublishedData(BaseModel, frozen=True, extra="ignore"):
    """The data that a run was trained on."""

    name: str
    sha256: dict[str, dict[str, str]]  # of the normalized arrays, by split ("train") and content ("images")

    @property
    def images(self) -> tuple[str | None, ...]:
        """SHA-256 of the normalized images of both splits. Runs with equal ones can be compared."""
        return tuple(self.sha256.get(split, {}).get("images") for split in ("train", "test"))


class PublishedFile(BaseModel, frozen=True, extra="ignore"):
    """A file of a run."""

    path: str
    sha256: str


class Manifest(BaseModel, frozen=True, extra="ignore"):
    """The fields of `manifest.json` that later runs need."""

    data: PublishedData
    files: tuple[PublishedFile, ...]
    reference: Any = None
    champion: Any = None
    gate: Any = None

    def sha256(self, path: str) -> str | None:
        """Return the SHA-256 of a file of the run; None if the run has no such file."""
        return next((file.sha256 for file in self.files if file.path == path), None)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a published run; raise SettingsError if the folder holds none."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except (OSError, ValueError) as error:  # pydantic raises ValueError, and so does a null byte in a path
        is_missing = isinstance(error, FileNotFoundError)
        why = f"it has no {MANIFEST_FILE}" if is_missing else f"its {MANIFEST_FILE} cannot be read"
        if is_missing and not folder.is_dir():
            why = "there is no such folder"
        raise SettingsError(
            f"{folder} is not a complete published run: {why}.\n"
            f"Give the folder of a run, such as {DEFAULT_OUTPUT_DIR}/runs/NAME; for --compare-with and champions, the "
            "name of a run in the output folder is enough."
        ) from error


def read_run(root: Path, name: str) -> Manifest:
    """Read the manifest of the published run with this name; raise SettingsError if there is none."""
    if not RUN_NAME.fullmatch(name):
        raise SettingsError(f"{name!r} cannot be a run's name.\nGive the name of a folder in {root / 'runs'}.")
    return read_manifest(root / "runs" / name)


def check_files(folder: Path, manifest: Manifest, *names: str) -> None:
    """Raise SettingsError if a file of a run is missing, or differs from its SHA-256 in the manifest."""
    for name in names:
        try:
            intact = sha256_of(folder / name) == manifest.sha256(name)
        except OSError:
            intact = False
        if not intact:
            raise SettingsError(
                f"{folder} is not a complete published run: {name} is missing, or is not what was published.\n"
                "To repair it, repeat the command that made the run."
            )
