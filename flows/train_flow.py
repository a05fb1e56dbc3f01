"""The main job: fetch -> normalize -> fit -> train -> render -> floor -> separate -> compare -> publish.

python flows/train_flow.py --help
"""

import flows  # noqa: F401  # isort: skip  # must come first: sets variables that Prefect reads on import

from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter
from prefect import flow
from prefect.logging import get_run_logger

from flows.checks import check_before_work
from flows.server.alerts import (
    alert_on_collapse,
    alert_on_disk,
    alert_on_failure,
    alert_on_result,
    check_alert_block,
)
from flows.server.cancellation import confirm_cancelled, stop_when_cancelled
from flows.server.serving import serve_flow
from flows.server.session import prefect_session
from flows.settings import SCHEDULE, RunSettings
from flows.summary import describe_disk, print_summary
from gan.command import new_app, run_command
from gan.config import ExecutionConfig, RunConfig
from gan.errors import TrainingError
from gan.report.front_page import refresh_front_page
from gan.runs.champion import champion_of
from gan.storage.locks import mark_in_use
from gan.storage.store import Store
from tasks.artifacts import create_artifacts, create_trend
from tasks.compare import compare
from tasks.fetch import fetch
from tasks.fit_extractor import get_extractor
from tasks.normalize import normalize
from tasks.promotion import find_champion, promote_if_passed
from tasks.publish import publish
from tasks.published import download_run, is_published, link_as_latest
from tasks.records import FittedExtractor, NormalizedData, Opponents, PublishedRun, RunRecords, TrainedGan
from tasks.reference import find_reference
from tasks.render import render
from tasks.stage import Stage, refreshing
from tasks.train import train
from tasks.two_sample import measure_floor, separate

MAX_JUDGEMENTS = 3


@flow(
    name="fashion-gan",
    flow_run_name="{settings.run_label}",
    description="Train a GAN, judge it, publish the result.",
    on_failure=[alert_on_failure],
    on_crashed=[alert_on_failure],
    on_cancellation=[confirm_cancelled],
)
def train_flow(settings: RunSettings) -> PublishedRun:
    """Train a GAN on a data set, judge its pictures against real ones, and publish the result.

    Args:
        settings: All options. Each option's description says what an empty value means.
    """
    settings = settings.with_seed()
    check_alert_block(settings.alert_block)
    check_before_work(settings)
    store, run, execution = settings.open_store(), settings.run_config(), settings.execution()
    device, epochs = execution.device_here, settings.two_sample_epochs
    with stop_when_cancelled(), mark_in_use(store.root), refreshing(settings.refresh):
        raw = fetch(store, settings.data, settings.data_dir)
        data = normalize(store, raw, settings.data)
        log_warnings(data)
        extractor = get_extractor(store, data, settings.extractor_epochs, device)
        log_warnings(extractor)
        trained = train_stage(execution)(store, data, run.train, execution, extractor)
        refuse_collapse(trained, execution)
        pictures = render(store, data, trained, run.train, device)
        floor = measure_floor(store, data, run.samples.num_images, epochs, device)
        separated = separate(store, data, trained.average, run.samples, epochs, device)
        records = RunRecords(
            raw=raw,
            data=data,
            extractor=extractor,
            trained=trained,
            pictures=pictures,
            floor=floor,
            separated=separated,
        )
        is_new = not is_published(store, run.name, trained)
        champion = champion_of(store.root)
        published = compare_and_publish(store, run, records, settings)
        link_as_latest(store, published)
        page = refresh_front_page(store.root)
        alert_on_result(settings.alert_block, store.root, page, run.name, champion, is_new=is_new)
        alert_on_disk(settings.alert_block, store.root)
        create_artifacts(store, published, describe_disk(store.root))
        create_trend(page)
    return published


def compare_and_publish(store: Store, run: RunConfig, records: RunRecords, settings: RunSettings) -> PublishedRun:
    """Judge a trained run, publish it, and promote it if it passes the gate.

    If another run becomes the champion meanwhile, judge this run again, up to MAX_JUDGEMENTS times in all.
    """
    data, trained, device = records.data, records.trained, settings.execution().device_here
    reference = find_reference(store, run, data, trained, settings.reference_folder)
    for _ in range(MAX_JUDGEMENTS):
        champion = find_champion(store, run.name, data, trained)
        opponents = Opponents(reference=reference, champion=champion)
        comparison = compare(store, records, opponents, run, device)
        if not is_published(store, run.name, trained):  # a published run sent its alert then
            alert_on_collapse(settings.alert_block, trained.warnings)
        published = publish(store, run, records, opponents, comparison)
        download_run(store, published)
        gate = comparison.judgement.gate
        if promote_if_passed(store, run.name, trained, champion, gate, no_promote=settings.no_promote):
            break
    return published


def log_warnings(record: NormalizedData | FittedExtractor) -> None:
    """Log the problems found in the data, also for a cached record."""
    for warning in record.warnings:
        get_run_logger().warning("Data: %s", warning)


def train_stage(execution: ExecutionConfig) -> Stage[..., TrainedGan]:
    """Return the stage; if a GPU worker trains, the worker's process acquires the lock of the stage."""
    return replace(train, takes_lock=execution.train_on == "here")


def refuse_collapse(trained: TrainedGan, execution: ExecutionConfig) -> None:
    """Apply --stop-on-collapse to a cached training: raise a TrainingError if it has warnings."""
    if execution.stop_on_collapse and trained.warnings:
        raise TrainingError(
            f"{trained.warnings[0]}\nThis training was finished before, and --stop-on-collapse refuses its result. "
            "Omit the option to publish it nevertheless."
        )


app = new_app("flows/train_flow.py", train_flow.description)


@app.default
def main(
    *,
    settings: Annotated[RunSettings, Parameter(name="*", negative=())] = RunSettings(),  # noqa: B008
    serve: Annotated[str | None, SCHEDULE] = None,
    time_zone: Annotated[str, SCHEDULE] = "UTC",
) -> None:
    """Check the settings, run the flow, and print where the result is.

    Args:
        settings: Options of the run.
        serve: start a run at these times in this process, without a worker: cron, as in "0 3 * * *"; needs a server
        time_zone: time zone of --serve, such as Europe/Berlin
    """
    of_today = settings.with_seed()
    check_before_work(of_today)
    store = settings.open_store()
    if serve is not None:
        serve_flow(train_flow, settings, serve, time_zone)
        return
    settings = of_today  # a run that passes midnight has the day of its start
    with prefect_session():
        published = train_flow(settings)
    print_summary(store, published)


if __name__ == "__main__":
    run_command(app)
