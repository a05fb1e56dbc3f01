"""A schedule without a worker: one process that keeps running and starts the runs itself."""

import hashlib
from typing import Any

from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule
from prefect.schedules import Cron
from pydantic import ValidationError

from flows.server.session import prefect_session
from flows.settings import RunSettings
from gan.errors import SettingsError


def serve_flow(flow: Flow[..., Any], settings: RunSettings, cron: str, time_zone: str) -> None:
    """Run a flow with these settings on a cron schedule, one run at a time, until this process is ended.

    Raises:
        SettingsError: If the cron string or the time zone is invalid.
        ServerError: If PREFECT_API_URL is not set: the embedded server cannot keep a schedule.
    """
    try:
        CronSchedule(cron=cron, timezone=time_zone)
    except ValidationError as error:
        wrong = "; ".join(str(detail["ctx"]["error"]) for detail in error.errors() if "ctx" in detail)
        raise SettingsError(
            f"--serve got an invalid schedule: {wrong or error}.\n"
            'Give minute, hour, day, month and weekday, such as --serve "0 3 * * *" for every night at three, '
            "and a zone such as --time-zone Europe/Berlin."
        ) from error
    given = settings.with_absolute_folders()
    digest = hashlib.sha256(given.model_dump_json().encode()).hexdigest()
    with prefect_session("--serve needs a permanent Prefect server, which keeps the schedule"):
        flow.serve(
            name=f"served-{digest[:6]}",  # a process with other settings has a deployment of its own
            schedule=Cron(cron, timezone=time_zone),
            parameters={"settings": given.model_dump(mode="json", exclude_none=True)},
            limit=1,  # in this process; a deployment's limit is a lease, which is lost when the server is away for long
        )
