"""What a published run holds for later ones, read with every doubt: folders can be moved, altered, and made up."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from gan.errors import SettingsError
from gan.runs.publish import MANIFEST
from gan.storage.files import sha256_of

GENERATOR, AVERAGE_GENERATOR, EXTRACTOR = "generator.keras", "generator_average.keras", "extractor.keras"
SAMPLES, AVERAGE_SAMPLES = "samples.npz", "samples_average.npz"


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PublishedData(_Read):
    """What a run was trained on: digests of the normalized arrays by split and kind."""

    name: str
    sha256: dict[str, dict[str, str]]


class PublishedFile(_Read):
    """A file of a run."""

    path: str
    sha256: str


class Manifest(_Read):
    """`manifest.json` of a published run, as far as later runs need it."""

    data: PublishedData
    files: tuple[PublishedFile, ...]
    reference: Any = None
    champion: Any = None
    gate: Any = None

    def sha256(self, path: str) -> str | None:
        """Digest of a file of the run; None if it has no such file."""
        return next((file.sha256 for file in self.files if file.path == path), None)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a published run.

    Raises:
        SettingsError: If the folder holds no published run.
    """
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:  # pydantic's is a ValueError, and so is a null byte in a path
        why = f"it has no {MANIFEST}" if isinstance(error, FileNotFoundError) else f"its {MANIFEST} cannot be read"
        raise SettingsError(
            f"{folder} is no published run that is whole: {why}.\n"
            "Give a folder in runs/ of an output folder, or the name of a run in this one."
        ) from error


def check_files(folder: Path, manifest: Manifest, *names: str) -> None:
    """Make sure that files of a run are the ones that were published.

    Raises:
        SettingsError: If one is missing or altered.
    """
    for name in names:
        try:
            intact = sha256_of(folder / name) == manifest.sha256(name)
        except OSError:
            intact = False
        if not intact:
            raise SettingsError(
                f"{folder} is no published run that is whole: {name} is missing, or is not what was published.\n"
                "The command that made the run mends it."
            )


DATA_SUMMARY = "data_summary.json"
