"""Stage 5: compare generated images with real ones, in numbers and on a page."""

from typing import TYPE_CHECKING

from gan.config import Device, RunContent
from gan.storage.store import Store
from tasks.records import Champion, Comparison, Opponents, Reference, RunRecords, put_files
from tasks.stage import stage

if TYPE_CHECKING:  # a cached run must not wait for TensorFlow and matplotlib
    from gan.judging.challenge import Opponent
    from gan.report.contestants import ContestantFiles
    from gan.report.run_report import TrainedRun


@stage(run_name="compare real with generated", timeout_seconds=3600, incidental=("device",))
def compare(
    store: Store, records: RunRecords, opponents: Opponents, settings: RunContent, device: Device
) -> Comparison:
    """Draw samples, compare them with the test split, the reference and the champion, and write the report."""
    from gan.models.backend import use_device
    from gan.report.run_report import report_run

    use_device(device)
    judgement, files = report_run(
        _trained_run(store, records, settings),
        _reference_files(store, opponents.reference, records),
        _opponent(store, opponents.champion),
    )
    return Comparison(judgement=judgement, by_path=put_files(store, files))


def _trained_run(store: Store, records: RunRecords, settings: RunContent) -> "TrainedRun":
    from gan.report.run_report import RunFiles, TrainedRun
    from gan.report.training_pictures import ANIMATION, INTERPOLATION

    data, trained, pictures = records.data, records.trained, records.pictures.by_path
    return TrainedRun(
        files=RunFiles(
            train_images=store.path(data.train_images),
            train_labels=store.path(data.train_labels),
            test_images=store.path(data.test_images),
            test_labels=store.path(data.test_labels),
            summary=store.path(data.summary),
            extractor=store.path(records.extractor.weights),
            generator=store.path(trained.generator),
            average=store.path(trained.average),
            history=store.path(trained.history),
            snapshots=store.path(trained.snapshots),
            animation=store.path(pictures[ANIMATION]),
            interpolation=store.path(pictures[INTERPOLATION]),
        ),
        settings=settings,
        title=data.title,
        credit=data.credit,
        class_names=data.class_names,
        snapshot_steps=trained.snapshot_steps,
        warnings=trained.warnings,
        data_warnings=records.data_warnings,
        provenance=records.provenance(),
    )


def _reference_files(store: Store, reference: Reference | None, records: RunRecords) -> "ContestantFiles | None":
    from gan.report.contestants import ContestantFiles

    if reference is None:
        return None
    refs = reference.generator, reference.samples, reference.average_samples, records.data.summary  # of the same data
    return ContestantFiles(reference.name, *map(store.path, refs))


def _opponent(store: Store, champion: Champion | None) -> "Opponent | None":
    from gan.judging.challenge import Opponent

    if champion is None:
        return None
    samples = store.path(champion.average_samples) if champion.average_samples else None
    return Opponent(champion.name, samples, champion.obstacle)
