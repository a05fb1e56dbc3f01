"""Which earlier run a new one is compared with."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gan.errors import SettingsError
from gan.publishing import MANIFEST
from gan.store import FileRef, Store
from tasks.records import NormalizedData, Reference, TrainedGan

GENERATOR, SAMPLES, AVERAGE_SAMPLES = "generator.keras", "samples.npz", "samples_average.npz"

log = logging.getLogger(__name__)


def find_reference(
    store: Store, name: str, data: NormalizedData, trained: TrainedGan, compare_with: Path | None
) -> Reference | None:
    """The run that was asked for; else the one that this run has been compared with before; else the latest one.

    A run that is published already keeps its reference as long as its generator is the same: else the same command
    again would compare the run with itself, and not be cached.

    Args:
        store: Receives the reference's files, so that it can go while its copy is in use.
        name: Of the new run.
        data: What it was trained on.
        trained: What came out.
        compare_with: Folder of a published run.

    Raises:
        SettingsError: If `compare_with` is given and is no run on the same data set.
    """
    if compare_with is not None:
        return _reference_to(store, check_comparable(compare_with, data.dataset))
    manifest = _read_manifest(store.root / "runs" / name)
    if manifest is not None and _sha256_in(manifest, GENERATOR) == trained.generator.sha256:
        recorded = manifest.get("reference")
        if recorded is None:
            return None
        try:
            reference = Reference.model_validate(recorded)
        except ValidationError:
            log.warning("The run that this one was compared with is not recorded as it should be.")
        else:
            if all(store.is_intact(ref) for ref in reference.files()):
                return reference
            log.warning("The run %s that this one was compared with is gone from the store.", reference.name)
    try:
        return _reference_to(store, check_comparable((store.root / "latest").resolve(), data.dataset))
    except SettingsError:
        return None  # there is none, or it is of other data


def check_comparable(folder: Path, dataset: str) -> Path:
    """Make sure that a folder holds a published run on a data set, and give it back.

    Raises:
        SettingsError: If it does not.
    """
    manifest = _read_manifest(folder)
    missing = [name for name in (GENERATOR, SAMPLES, AVERAGE_SAMPLES) if not (folder / name).is_file()]
    if manifest is None or missing:
        raise SettingsError(
            f"{folder} is no published run to compare with: it lacks {', '.join(missing) or MANIFEST}.\n"
            "Give a folder in runs/ of an output folder, or the name of a run in this one."
        )
    if manifest.get("data", {}).get("name") != dataset:
        raise SettingsError(
            f"{folder} was trained on {manifest.get('data', {}).get('name')}, not on {dataset}.\n"
            "Runs are compared by the same test images: give one of the same data set."
        )
    return folder


def _reference_to(store: Store, folder: Path) -> Reference:
    def keep(name: str) -> FileRef:
        return store.put_file(lambda path: shutil.copyfile(folder / name, path), Path(name).suffix)

    return Reference(
        name=folder.name, generator=keep(GENERATOR), samples=keep(SAMPLES), average_samples=keep(AVERAGE_SAMPLES)
    )


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _sha256_in(manifest: dict[str, Any], name: str) -> str | None:
    return next((file["sha256"] for file in manifest.get("files", []) if file.get("path") == name), None)
