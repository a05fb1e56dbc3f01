"""Send a digest of the last days through an alert block: how many runs, which need a look, how the numbers went.

python flows/digest_flow.py --help
"""

import flows  # noqa: F401  # isort: skip  # sets environment variables that Prefect reads when it is imported

import logging
from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import Parameter
from prefect import flow
from prefect.client.orchestration import get_client
from pydantic import BaseModel, Field, PositiveInt

from flows.server.alerts import alert_on_failure, check_alert_block, send_digest
from flows.server.session import prefect_session
from flows.shared_options import ALERT_VARIABLE, AlertBlock, OutputDir
from flows.train_flow import train_flow
from gan.command import new_app, run_command, terminal
from gan.config import DEFAULT_OUTPUT_DIR
from gan.errors import SettingsError
from gan.report.front_page import collect
from gan.report.trend import digest_of
from gan.runs.champion import check_root
from tasks.artifacts import create_trend

log = logging.getLogger("tasks.digest")  # loggers below "tasks" are shown in the UI


class DigestSettings(BaseModel, frozen=True, extra="forbid"):
    """Options of the command and of the flow."""

    days: PositiveInt = Field(7, le=366, description="days before now that the digest is about")
    alert_block: AlertBlock = Field(
        None,
        validate_default=True,
        description=f"notification block of Prefect, as type/name; empty: ${ALERT_VARIABLE}",
    )
    output_dir: OutputDir = Field(DEFAULT_OUTPUT_DIR, description="folder for the store and the published runs")


@flow(
    name="digest",
    flow_run_name="digest of {settings.days} days",
    description="Send a digest of the last days through an alert block, and show the trend.",
    on_failure=[alert_on_failure],
    on_crashed=[alert_on_failure],
)
def digest_flow(settings: DigestSettings) -> str:
    """Send a digest of the last days through an alert block, and show the trend.

    Args:
        settings: The options.

    Returns:
        The digest, as text.
    """
    if settings.alert_block is None:
        raise SettingsError(
            "There is no alert block to send the digest through.\n"
            f"Name one, as type/name, with --alert-block or ${ALERT_VARIABLE}."
        )
    check_alert_block(settings.alert_block)
    root = settings.output_dir
    check_root(root)
    page, begin = collect(root), datetime.now(UTC) - timedelta(days=settings.days)
    headline, text = digest_of(page, begin, failed_since(begin))
    log.info("%s. %s", headline, text)
    create_trend(page)
    send_digest(settings.alert_block, headline, text)
    return f"{headline}. {text}"


def failed_since(begin: datetime) -> list[str]:
    """Return the names of the runs on the server, also of sweeps, that failed or crashed since a time, newest first."""
    ended = {"state": {"type": {"any_": ["FAILED", "CRASHED"]}}, "end_time": {"after_": begin.isoformat()}}
    filters = {"flow_runs": ended, "flows": {"name": {"any_": [train_flow.name]}}}
    with get_client(sync_client=True) as client:
        found: list[str] = []
        while page := client.request(
            "POST", "/flow_runs/filter", json=filters | {"sort": "END_TIME_DESC", "offset": len(found)}
        ).json():
            found += [str(run["name"]) for run in page]
    return found


app = new_app("flows/digest_flow.py", digest_flow.description)


@app.default
def main(*, settings: Annotated[DigestSettings, Parameter(name="*", negative=())] = DigestSettings()) -> None:  # noqa: B008
    """Send the digest, and print it."""
    with prefect_session():
        text = digest_flow(settings)
    terminal().print(text)


if __name__ == "__main__":
    run_command(app)
