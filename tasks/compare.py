"""Stage 5: compare generated images with real ones, in numbers and on a page."""

from typing import TYPE_CHECKING

from gan.config import Device, RunContent
from gan.judging.gate import Incumbent
from gan.storage.store import FileRef, Store
from tasks.records import Comparison, Opponents, RunRecords, put_files
from tasks.stage import stage

if TYPE_CHECKING:  # a cached run must not wait for TensorFlow and matplotlib
    from gan.report.run_report import TrainedRun


@stage(run_name="compare real with generated", timeout_seconds=3600, incidental=("device",))
def compare(
    store: Store, records: RunRecords, opponents: Opponents, settings: RunContent, device: Device
) -> Comparison:
    """Draw samples, compare them with the test split, the reference and the champion, and write the report."""
    from gan.models.backend import use_device
    from gan.report.contestants import ContestantFiles
    from gan.report.run_report import report_run

    use_device(device)
    earlier_run = incumbent = None
    if reference := opponents.reference:
        names = "generator", "samples", "average_samples"
        paths = {name: store.path(getattr(reference, name)) for name in names}
        summary = store.path(records.data.summary)  # a reference was trained on the same data
        earlier_run = ContestantFiles(name=reference.name, data_summary=summary, **paths)
    if champion := opponents.champion:
        samples = store.path(champion.average_samples) if champion.average_samples else None
        incumbent = Incumbent(champion.name, samples, champion.obstacle)
    judgement, files = report_run(_trained_run(store, records, settings), earlier_run, incumbent)
    return Comparison(judgement=judgement, by_path=put_files(store, files))


def _trained_run(store: Store, records: RunRecords, settings: RunContent) -> "TrainedRun":
    from gan.report.run_report import RunFiles, TrainedRun
    from gan.report.training_pictures import ANIMATION, INTERPOLATION

    data, trained, pictures = records.data, records.trained, records.pictures.by_path
    # RunFiles has a field of the same name for each file of these two records
    of_data = {name: ref for name, ref in data if isinstance(ref, FileRef)}
    of_training = {name: ref for name, ref in trained if isinstance(ref, FileRef)}
    refs = of_data | of_training | {"extractor": records.extractor.weights}
    refs |= {"animation": pictures[ANIMATION], "interpolation": pictures[INTERPOLATION]}
    return TrainedRun(
        files=RunFiles(**{name: store.path(ref) for name, ref in refs.items()}),
        settings=settings,
        title=data.title,
        credit=data.credit,
        class_names=data.class_names,
        snapshot_steps=trained.snapshot_steps,
        warnings=trained.warnings,
        data_warnings=records.data_warnings,
        provenance=records.provenance(),
    )
