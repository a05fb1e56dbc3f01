"""Which earlier run a new one is compared with."""

import logging
import shutil
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from gan.errors import SettingsError
from gan.runs.manifest import (
    AVERAGE_GENERATOR,
    AVERAGE_SAMPLES,
    GENERATOR,
    SAMPLES,
    Manifest,
    check_files,
    read_manifest,
)
from gan.storage.links import LATEST, follow
from gan.storage.store import FileRef, Store
from tasks.failures import explain_refused_writes
from tasks.records import NormalizedData, Reference, TrainedGan

log = logging.getLogger(__name__)


def find_reference(
    store: Store, name: str, data: NormalizedData, trained: TrainedGan, compare_with: Path | None
) -> Reference | None:
    """The run that was asked for; else the one that this run has been compared with before; else the latest one.

    A run is never compared with itself: where the reference would have the same generators, it is the reference of that
    run instead. So the same command again has the same reference, whatever has become the latest run meanwhile.

    Args:
        store: Receives the reference's files, so that it can go while its copy is in use.
        name: Of the new run.
        data: What it was trained on.
        trained: What came out.
        compare_with: Folder of a published run.

    Raises:
        SettingsError: If `compare_with` is given and is no whole run on the same data.
    """
    if compare_with is not None:
        found = _reference_to(store, follow(compare_with), data, trained)
        if found is None or found.name != follow(compare_with).name:
            instead = f"compared with {found.name}, as that run was" if found else "compared with none"
            log.warning("%s has the same generators as this run: %s.", compare_with.name, instead)
        return found
    earlier, latest = store.root / "runs" / name, follow(store.root / LATEST)
    if is_published(store, name, trained):
        return _reference_to(store, earlier, data, trained)
    try:
        return _reference_to(store, latest, data, trained)
    except SettingsError as error:
        if latest.exists():
            log.warning("Not compared with %s: %s", latest.name, str(error).partition("\n")[0])
    return None


def is_published(store: Store, name: str, trained: TrainedGan) -> bool:
    """Whether a run of that name with these generators is there already, and its manifest can be read."""
    with suppress(SettingsError):
        return _is_same(read_manifest(store.root / "runs" / name), trained)
    return False


def check_comparable(folder: Path, dataset: str) -> None:
    """Refuse at once what cannot be compared with, before any work is done.

    Raises:
        SettingsError: If the folder holds no published run, or one on another data set.
    """
    manifest = read_manifest(folder)
    if manifest.data.name != dataset:
        raise _other_data(folder, manifest.data.name, dataset)
    check_files(folder, manifest, GENERATOR, SAMPLES, AVERAGE_SAMPLES)


def _reference_to(store: Store, folder: Path, data: NormalizedData, trained: TrainedGan) -> Reference | None:
    manifest = read_manifest(folder)
    if _is_same(manifest, trained):
        return _recorded(store, manifest)
    refuse_other_data(folder, manifest, data)
    check_files(folder, manifest, GENERATOR, SAMPLES, AVERAGE_SAMPLES)
    return Reference(
        name=folder.name,
        generator=keep(store, folder / GENERATOR),
        samples=keep(store, folder / SAMPLES),
        average_samples=keep(store, folder / AVERAGE_SAMPLES),
    )


def refuse_other_data(folder: Path, manifest: Manifest, data: NormalizedData) -> None:
    """Refuse a run that was trained on other data: there are no test images by which both could be judged.

    Raises:
        SettingsError: If that is so.
    """
    digests = {"train": data.train_images.sha256, "test": data.test_images.sha256}
    if any(manifest.data.sha256.get(split, {}).get("images") != digest for split, digest in digests.items()):
        raise _other_data(folder, manifest.data.name, data.dataset)


def keep(store: Store, file: Path) -> FileRef:
    """A copy of a published file that outlives its run."""
    with explain_refused_writes("The run", store):
        return store.put_file(lambda path: shutil.copyfile(file, path), file.suffix)


def _is_same(manifest: Manifest, trained: TrainedGan) -> bool:
    published = manifest.sha256(GENERATOR), manifest.sha256(AVERAGE_GENERATOR)
    return published == (trained.generator.sha256, trained.average.sha256)


def _recorded(store: Store, manifest: Manifest) -> Reference | None:
    """The reference of a run, if it had one and the store still has its files."""
    if manifest.reference is None:
        return None
    try:
        reference = Reference.model_validate(manifest.reference)
    except ValidationError:
        return None
    if all(store.is_intact(ref) for ref in reference.files()):
        return reference
    log.warning("%s, which this run was compared with, is gone from the store: compared with none.", reference.name)
    return None


def _other_data(folder: Path, found: str, expected: str) -> SettingsError:
    return SettingsError(
        f"{folder} was trained on other data ({found}) than this run ({expected}).\n"
        "Runs are compared by the same test images: give one of the same data set."
    )
