"""The main job: fetch -> normalize -> train -> render -> compare -> publish.

python flows/train_flow.py --help
"""

import flows  # noqa: F401  # isort: skip  # sets what Prefect reads when it is imported

from typing import Annotated

from cyclopts import App, Parameter
from prefect import flow

from flows.server.alerts import alert_on_collapse, alert_on_failure, check_alert_block
from flows.server.cancellation import confirm_cancelled, stop_when_cancelled
from flows.server.serving import serve_flow
from flows.server.session import prefect_session
from flows.settings import RunSettings
from flows.summary import describe_disk, print_summary
from gan.command import run_command
from gan.storage.locks import in_use
from tasks.compare import compare
from tasks.fetch import fetch
from tasks.fit_extractor import get_extractor
from tasks.normalize import log_warnings, normalize
from tasks.promotion import find_champion, promote_if_passed
from tasks.publish import download_run, present, publish
from tasks.records import PublishedRun
from tasks.reference import find_reference, is_published
from tasks.render import render
from tasks.stage import refreshing
from tasks.train import refuse_collapse, train_stage

MAX_JUDGEMENTS = 3
"""Another run may become the champion while one is judged against the champion before it."""


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
        settings: All options; what is left empty comes from the recipe.
    """
    check_alert_block(settings.alert_block)
    store, run, execution = settings.open_store(), settings.run_config(), settings.execution()
    device = execution.device_here
    with stop_when_cancelled(), in_use(store.root), refreshing(settings.refresh):
        raw = fetch(store, settings.data, settings.data_dir)
        data = normalize(store, raw, settings.data)
        log_warnings(data)
        extractor = get_extractor(store, data, device)
        log_warnings(extractor)
        trained = train_stage(execution)(store, data, run.train, execution, extractor)
        refuse_collapse(trained, execution)
        pictures = render(store, data, trained, run.train, device)
        reference = find_reference(store, run.name, data, trained, settings.reference_folder)
        for _ in range(MAX_JUDGEMENTS):
            champion = find_champion(store, run.name, data, trained)
            comparison = compare(
                store, raw, data, extractor, trained, pictures, reference, champion, run.train, run.samples, device
            )
            if not is_published(store, run.name, trained):  # else somebody was told then
                alert_on_collapse(settings.alert_block, trained.warnings)
            published = publish(store, run, raw, data, extractor, trained, pictures, reference, champion, comparison)
            download_run(store, published)
            if promote_if_passed(store, run.name, trained, champion, comparison.gate, no_promote=settings.no_promote):
                break
    present(store, published, describe_disk(store.root))
    return published


app = App(
    name="python flows/train_flow.py", help=train_flow.description, version_flags=(), suppress_keyboard_interrupt=False
)


@app.default
def main(
    *,
    settings: Annotated[RunSettings, Parameter(name="*", negative=())] = RunSettings(),  # noqa: B008
    serve: str | None = None,
    time_zone: str = "UTC",
) -> None:
    """Check the settings, run the flow, and say where the result is.

    Args:
        settings: Options of the run.
        serve: stay here and run at these times, without a worker: a cron string such as "0 3 * * *"; needs a server
        time_zone: time zone of --serve, such as Europe/Berlin
    """
    store = settings.open_store()
    if serve is not None:
        serve_flow(train_flow, settings, serve, time_zone)
        return
    with prefect_session():
        published = train_flow(settings)
    print_summary(store, published)


if __name__ == "__main__":
    run_command(app)
