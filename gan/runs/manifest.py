"""The manifest of a published run, read as untrusted input: the folder may have been moved, altered or forged."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gan.errors import SettingsError
from gan.runs.publish import MANIFEST
from gan.storage.files import sha256_of

GENERATOR, AVERAGE_GENERATOR, EXTRACTOR = "generator.keras", "generator_average.keras", "extractor.keras"
SAMPLES, AVERAGE_SAMPLES = "samples.npz", "samples_average.npz"
DATA_SUMMARY = "data_summary.json"


class PublishedData(BaseModel, frozen=True, extra="ignore"):
    """The data that a run was trained on."""

    name: str
    sha256: dict[str, dict[str, str]]  # of the normalized arrays, by split ("train") and content ("images")


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
    """Read the manifest of a published run.

    Raises:
        SettingsError: If the folder holds no published run.
    """
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:  # pydantic raises ValueError, and so does a null byte in a path
        why = f"it has no {MANIFEST}" if isinstance(error, FileNotFoundError) else f"its {MANIFEST} cannot be read"
        raise SettingsError(
            f"{folder} is not a complete published run: {why}.\n"
            "Give a folder in runs/ of an output folder, or the name of a run in this one."
        ) from error


def check_files(folder: Path, manifest: Manifest, *names: str) -> None:
    """Check that files of a run are intact.

    Raises:
        SettingsError: If a file is missing or differs from its SHA-256 in the manifest.
    """
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
