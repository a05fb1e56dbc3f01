"""The day on which a run was scheduled, which is the seed of a run with `--seed date`."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from prefect.client.orchestration import get_client
from prefect.runtime import deployment, flow_run

NUM_SEEDS_OF_A_DAY = 3
"""Trainings of each combination in a sweep with `--seeds date`."""


def scheduled_day() -> date:
    """Return the scheduled day of the current flow run, in the time zone of its deployment's schedule.

    So a run that starts late, or again, has the day that it was scheduled for. If the deployment has no schedule, or
    several in different time zones, the time zone is that of this machine. Outside of a flow run, the day is today.
    """
    if flow_run.id is None:
        return datetime.now().astimezone().date()
    day: date = flow_run.scheduled_start_time.astimezone(_time_zone()).date()
    return day


def seed_of(day: date) -> int:
    """Return a day as a seed, such as 20261129."""
    return int(f"{day:%Y%m%d}")


def seeds_of(day: date) -> str:
    """Return the seeds of a sweep on a day, such as 2026112900-2026112902, which are no other day's."""
    first = 100 * seed_of(day)
    return f"{first}-{first + NUM_SEEDS_OF_A_DAY - 1}"


def _time_zone() -> ZoneInfo | None:
    """Return the time zone of the deployment's only schedule; None, this machine's, if it has none or several."""
    if deployment.id is None:
        return None
    with get_client(sync_client=True) as client:
        schedules = client.read_deployment(deployment.id).schedules
    names = {getattr(each.schedule, "timezone", None) for each in schedules}
    name = names.pop() if len(names) == 1 else None
    return ZoneInfo(name) if name else None
