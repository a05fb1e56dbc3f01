"""The earlier run that a new run is compared with."""

import logging
import shutil
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ValidationError

from gan.config import RunConfig
from gan.data.catalog import CATALOG, Dataset
from gan.errors import SettingsError, first_line
from gan.runs.catalog import Entry, read_catalog, settings_digest
from gan.runs.changes import published_conditions
from gan.runs.manifest import (
    AVERAGE_GENERATOR,
    AVERAGE_SAMPLES,
    SAMPLES,
    Manifest,
    check_files,
    read_manifest,
)
from gan.runs.publish import CONFIG_FILE
from gan.storage.links import LATEST, follow_link
from gan.storage.store import FileRef, Store
from tasks.failures import explain_refused_writes
from tasks.published import has_generators_of, is_published
from tasks.records import NormalizedData, Reference, TrainedGan

MAX_TRIED = 3

log = logging.getLogger(__name__)


def find_reference(
    store: Store, run: RunConfig, data: NormalizedData, trained: TrainedGan, compare_with: Path | None
) -> Reference | None:
    """Return the requested run; otherwise the reference of this run's last publication; otherwise an earlier run.

    That is the newest run on the same images with the same training settings except seed and snapshots, else the newest
    of the same recipe (with as many steps and samples, if there is one), else the newest of all; the first two are not
    broken ones. If the found run has the same generators as this run, return the reference of the found run: a run is
    never compared with itself, and the same command always gets the same reference. The reference's files are copied to
    the store, so that they outlive its folder.

    Raises:
        SettingsError: If `compare_with` is given and is no complete published run on the same data.
    """
    if compare_with is not None:
        found = _reference_to(store, follow_link(compare_with), data, trained)
        if found is None or found.name != follow_link(compare_with).name:
            instead = f"compared with {found.name}, as that run was" if found else "compared with none"
            log.warning("%s has the same generators as this run: %s.", compare_with.name, instead)
        return found
    if is_published(store, run.name, trained):
        return _reference_to(store, store.root / "runs" / run.name, data, trained)
    failures = []
    for earlier in _earlier_runs(store.root, run, data):
        try:
            return _reference_to(store, earlier, data, trained)
        except SettingsError as error:
            if earlier.exists():
                failures.append((earlier.name, first_line(error)))
    if failures:
        log.warning("Not compared with %s: %s", *failures[0])
    return None


def _earlier_runs(root: Path, run: RunConfig, data: NormalizedData) -> list[Path]:
    """Return the folders of a few runs that a run may be compared with, the most similar first."""
    images = data.train_images.sha256, data.test_images.sha256
    settings = settings_digest(run.content().model_dump(mode="json"))

    def likeness(entry: Entry) -> tuple[bool, bool, bool]:
        return (
            entry.settings == settings,
            entry.steps == run.train.steps,
            entry.num_samples == run.samples.num_images,
        )

    of_same_images = [entry for entry in read_catalog(root) if entry.images == images]
    of_recipe = [entry for entry in of_same_images if entry.recipe == run.train.recipe.name and not entry.is_broken]
    alike = sorted(of_recipe, key=likeness)[-MAX_TRIED:]  # of equally similar ones, the newest is last
    found = [root / "runs" / entry.name for entry in (*reversed(alike), *of_same_images[-1:])]
    latest = follow_link(root / LATEST)
    try:
        is_of_other_data = read_manifest(latest).data.images != images
    except SettingsError:
        is_of_other_data = False  # the caller says what is wrong with it
    return list(dict.fromkeys(found if is_of_other_data else [*found, latest]))


class _UnpackedData(BaseModel, extra="ignore"):
    sha256: dict[str, str]  # by name of the unpacked file


class _Config(BaseModel, extra="ignore"):
    data: _UnpackedData | None  # None: one of CATALOG


def check_comparable(folder: Path, data: Dataset) -> None:
    """Refuse a folder without a published run, or with a run on other images (`SettingsError`)."""
    manifest = read_manifest(folder)
    try:
        own = _Config.model_validate_json((folder / CONFIG_FILE).read_bytes()).data
        found = own.sha256 if own else {file.name: file.sha256 for file in CATALOG[manifest.data.name].files}
    except (OSError, ValueError, KeyError):  # `check_same_data` decides, when the data is normalized
        found = {}
    images = [file for file in data.files if file.kind == "images"]
    if any(found.get(file.name, file.sha256) != file.sha256 for file in images):
        raise _other_data(folder, manifest.data.name, data.name)
    check_files(folder, manifest, AVERAGE_GENERATOR, SAMPLES, AVERAGE_SAMPLES)


def check_same_data(folder: Path, manifest: Manifest, data: NormalizedData) -> None:
    """Refuse a run that was trained on other data (`SettingsError`): no test images could judge both runs."""
    if manifest.data.images != (data.train_images.sha256, data.test_images.sha256):
        raise _other_data(folder, manifest.data.name, data.dataset)


def copy_to_store(store: Store, folder: Path, manifest: Manifest, *names: str) -> list[FileRef]:
    """Copy files of a published run to the store, so that they outlive it.

    Raises:
        SettingsError: If a copy is not what the manifest says: the run was published again or removed meanwhile.
    """
    refs = []
    for name in names:
        try:
            with explain_refused_writes("The run", store):
                refs.append(store.put_file(partial(shutil.copyfile, folder / name), Path(name).suffix))
        except FileNotFoundError:
            break
    if [ref.sha256 for ref in refs] != [manifest.sha256(name) for name in names]:
        raise SettingsError(f"{folder} was published again or removed while it was read.\nRun the same command again.")
    return refs


def _reference_to(store: Store, folder: Path, data: NormalizedData, trained: TrainedGan) -> Reference | None:
    manifest = read_manifest(folder)
    if has_generators_of(manifest, trained):
        return _recorded_reference(store, manifest)
    check_same_data(folder, manifest, data)
    names = AVERAGE_GENERATOR, SAMPLES, AVERAGE_SAMPLES
    check_files(folder, manifest, *names)
    average, samples, average_samples = copy_to_store(store, folder, manifest, *names)
    return Reference(
        name=folder.name,
        average=average,
        samples=samples,
        average_samples=average_samples,
        conditions=published_conditions(folder),
    )


def _recorded_reference(store: Store, manifest: Manifest) -> Reference | None:
    """Return the reference that a manifest records, if it has one and the store still has its files."""
    if manifest.reference is None:
        return None
    try:
        reference = Reference.model_validate(manifest.reference)
    except ValidationError:
        log.warning("This run records its reference as earlier versions did, which cannot be read: compared with none.")
        return None
    if all(store.is_available(ref) for ref in reference.files()):
        return reference
    log.warning("%s, which this run was compared with, is gone from the store: compared with none.", reference.name)
    return None


def _other_data(folder: Path, found: str, expected: str) -> SettingsError:
    other = f"other data ({found}) than this run ({expected})"
    if found == expected:
        other = f"other data of the same name ({found}) than this run"
    return SettingsError(
        f"{folder} was trained on {other}.\nRuns are compared on the same test images: give a run on the same images."
    )
