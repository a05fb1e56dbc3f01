"""The stage that compares generated images with real ones, in numbers and on a page."""

from typing import TYPE_CHECKING

from gan.config import Device, RunConfig
from gan.judging.gate import Incumbent
from gan.storage.store import Store
from tasks.code_identity import PUBLISHED_LIBRARIES
from tasks.records import Comparison, Opponents, RunRecords, put_files
from tasks.stage import stage

if TYPE_CHECKING:  # a cached run must not wait for TensorFlow and matplotlib
    from gan.report.run_report import TrainedRun


@stage(run_name="compare real with generated{opponents.suffix}", timeout_seconds=3600, incidental=("device",))
def compare(store: Store, records: RunRecords, opponents: Opponents, run: RunConfig, device: Device) -> Comparison:
    """Draw samples, compare them with the test split, the reference and the champion, and write the report."""
    from gan.models.backend import use_device
    from gan.report.comparison import ContestantFiles
    from gan.report.run_report import report_run

    use_device(device)
    earlier_run = incumbent = None
    if reference := opponents.reference:
        earlier_run = ContestantFiles(
            name=reference.name,
            average=store.path(reference.average),
            samples=store.path(reference.samples),
            average_samples=store.path(reference.average_samples),
            data_summary=store.path(records.data.summary),  # a reference was trained on the same images
            conditions=reference.conditions,
        )
    if champion := opponents.champion:
        samples = store.path(champion.average_samples) if champion.average_samples else None
        incumbent = Incumbent(champion.name, samples, champion.obstacle, champion.reached)
    judgement, files = report_run(_trained_run(store, records, run), earlier_run, incumbent)
    return Comparison(judgement=judgement, by_path=put_files(store, files))


def _trained_run(store: Store, records: RunRecords, run: RunConfig) -> "TrainedRun":
    from gan.judging.definitions import Separation
    from gan.report.run_report import TrainedRun
    from gan.report.training_pictures import ANIMATION, INTERPOLATION
    from gan.runs.changes import conditions_of
    from gan.runs.manifest import manifest_content

    data, trained, pictures = records.data, records.trained, records.pictures.by_path
    made_from = records.provenance()
    return TrainedRun(
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
        average_snapshots=store.path(trained.average_snapshots),
        animation=store.path(pictures[ANIMATION]),
        interpolation=store.path(pictures[INTERPOLATION]),
        settings=run,
        title=data.title,
        credit=data.credit,
        class_names=data.class_names,
        warnings=trained.warnings,
        data_warnings=records.data_warnings,
        separation=Separation(
            accuracy=records.separated.accuracy,
            floor=records.floor.accuracy,
            num_training=records.separated.num_training,
        ),
        separation_logits=store.path(records.separated.logits),
        provenance=made_from,
        conditions=conditions_of(
            run.content().model_dump(mode="json"), manifest_content(run, made_from, libraries=PUBLISHED_LIBRARIES)
        ),
    )
