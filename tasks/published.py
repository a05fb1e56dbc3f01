"""Published runs: whether a run is one, copies of those of other machines, and the link to the latest."""

from contextlib import suppress
from pathlib import PurePosixPath

from gan.errors import SettingsError
from gan.runs.manifest import AVERAGE_GENERATOR, GENERATOR, Manifest, read_manifest
from gan.runs.publish import copy_files, staged_run
from gan.storage.links import LATEST, set_link
from gan.storage.store import Store
from tasks.failures import explain_refused_writes
from tasks.records import PublishedRun, TrainedGan


def is_published(store: Store, name: str, trained: TrainedGan) -> bool:
    """Return whether a run with this name and these generators is published with a readable manifest."""
    with suppress(SettingsError):
        return has_generators_of(read_manifest(store.root / "runs" / name), trained)
    return False


def has_generators_of(manifest: Manifest, trained: TrainedGan) -> bool:
    """Return whether the generators of a published run are those of a training."""
    published = manifest.sha256(GENERATOR), manifest.sha256(AVERAGE_GENERATOR)
    return published == (trained.generator.sha256, trained.average.sha256)


def download_run(store: Store, run: PublishedRun) -> None:
    """Download a run that another machine has published in the object store, if its folder here is not the same."""
    if store.remote is None or all(store.is_local(ref) for ref in run.published):
        return
    with staged_run(store.root, run.name) as folder:
        prefix = f"runs/{run.name}"
        paths = {str(PurePosixPath(ref.key).relative_to(prefix)): ref.by_content() for ref in run.published}
        copy_files({path: store.path(ref) for path, ref in paths.items()}, folder)


def link_as_latest(store: Store, run: PublishedRun) -> None:
    """Let the link `latest` lead to a published run, new or cached."""
    with explain_refused_writes("The run", store):
        set_link(store.root, LATEST, f"runs/{run.name}")
