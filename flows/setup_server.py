"""What a Prefect server must have for this project: made, brought up to date, and looked at again. Run it at any time.

python flows/setup_server.py --help
"""

import flows  # noqa: F401  # isort: skip  # sets what Prefect reads when it is imported

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import yaml
from cyclopts import App
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from pydantic import PositiveInt
from rich.console import Console

from flows.server.alerts import NEVER_STARTED, NO_HEARTBEAT, alert_automations
from flows.server.session import ServerError, prefect_session
from flows.settings import ALERT_VARIABLE
from gan.command import run_command
from tasks.code_identity import PROJECT_ROOT
from tasks.hand_over import GPU_LIMIT, GPU_POOL

POOLS = ("default", GPU_POOL)
RUNS_AT_ONCE = 1
"""Of each work queue that prefect.yaml names: runs that go on at the same moment."""

SILENCE_SECONDS = 120
"""A run without a heartbeat for so long has crashed: four of them are missing."""

PENDING_SECONDS = 900
"""A run that a worker has taken starts within seconds; one that has not after so long holds its queue for nobody."""


def _crashed(name: str, why: str, after: str, alive: set[str], seconds: int, message: str) -> AutomationCore:
    """Mark a run as Crashed of which nothing is heard for so long after an event."""
    over = {"Completed", "Failed", "Cancelled", "Crashed"}
    return AutomationCore(
        name=name,
        description=f"Marks a run as Crashed {why}.",
        trigger=EventTrigger(
            after={f"prefect.flow-run.{after}"},
            expect={f"prefect.flow-run.{event}" for event in alive | over},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=f"{message} for {seconds} s.")],
    )


AUTOMATIONS = (
    _crashed(
        "Runs without heartbeats have crashed",
        f"that gave no sign of life for {SILENCE_SECONDS} s: its process was killed",
        "heartbeat",
        {"heartbeat"},
        SILENCE_SECONDS,
        NO_HEARTBEAT,
    ),
    _crashed(
        "Runs that never start have crashed",
        f"that a worker took {PENDING_SECONDS} s ago and that does not run: the worker was killed with it",
        "Pending",
        {"Running"},
        PENDING_SECONDS,
        NEVER_STARTED,
    ),
)


def set_up(client: SyncPrefectClient, gpus: int | None, automations: Sequence[AutomationCore]) -> None:
    """Make what is missing, and change what is not as it should be; nothing is ever removed.

    Args:
        client: Of a running server.
        gpus: How many trainings may go on at once; None leaves a limit that is there as it is.
        automations: What the server is to do by itself; one of the same name is replaced.
    """
    for name in POOLS:
        try:
            client.read_work_pool(name)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    for pool, name in _queues():
        try:
            queue = client.read_work_queue_by_name(name, pool)
        except ObjectNotFound:
            queue = client.create_work_queue(name, work_pool_name=pool)
        client.update_work_queue(queue.id, concurrency_limit=RUNS_AT_ONCE)
    if gpus is not None or _limit(client) is None:
        client.upsert_global_concurrency_limit_by_name(GPU_LIMIT, gpus or 1)
    for automation in automations:
        there = client.read_automations_by_name(automation.name)
        if there:
            client.update_automation(there[0].id, automation)
        else:
            client.create_automation(automation)


def _wanted() -> list[dict[str, Any]]:
    """The deployments as prefect.yaml has them."""
    content = yaml.safe_load((PROJECT_ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    return list(content["deployments"])


def _queues() -> list[tuple[str, str]]:
    """Work pool and name of each work queue that prefect.yaml names."""
    pools = [wanted["work_pool"] for wanted in _wanted()]
    return [(pool["name"], pool["work_queue_name"]) for pool in pools if "work_queue_name" in pool]


def deploy(client: SyncPrefectClient) -> str:
    """Deploy all that prefect.yaml lists; what Prefect's own command complains of, if it does."""
    before = [found for found in client.read_deployments() if found.work_pool_name in POOLS]
    command = [sys.executable, "-m", "prefect", "deploy", "--all", "--no-prompt"]
    try:
        done = subprocess.run(
            command, cwd=PROJECT_ROOT, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    finally:
        _pause_again(client, before)
    return f"{done.stdout}{done.stderr}" if done.returncode else ""


def _pause_again(client: SyncPrefectClient, before: Sequence[DeploymentResponse]) -> None:
    """Leave paused what was: Prefect's deploy resumes deployments, and schedules where one without a slug was added."""
    for deployment in before:
        if deployment.paused:
            client.pause_deployment(deployment.id)
        paused = {schedule.slug for schedule in deployment.schedules if not schedule.active}
        for schedule in client.read_deployment_schedules(deployment.id):
            if schedule.active and schedule.slug in paused:
                client.update_deployment_schedule(deployment.id, schedule.id, active=False)


def look(client: SyncPrefectClient, automations: Sequence[AutomationCore]) -> Iterator[tuple[str, str | None]]:
    """What must be there, and how it is; None for what is missing or is not as it should be."""
    for name in POOLS:
        try:
            pool = client.read_work_pool(name)
        except ObjectNotFound:
            pool = None
        paused = ", paused" if pool and pool.is_paused else ""
        yield f"work pool {name}", f"process{paused}" if pool and pool.type == "process" else None
    for pool_name, name in _queues():
        yield f"work queue {name}", _describe_queue(client, pool_name, name)
    limit = _limit(client)
    yield f"concurrency limit {GPU_LIMIT}", f"{limit} training{'s' if limit > 1 else ''} at once" if limit else None
    for automation in automations:
        as_wanted = [
            found
            for found in client.read_automations_by_name(automation.name)
            if found.enabled and (found.trigger, found.actions) == (automation.trigger, automation.actions)
        ]
        yield f"automation {automation.name}", automation.description if as_wanted else None
    deployed = {(found.entrypoint, found.name): found for found in client.read_deployments()}
    for wanted in _wanted():
        found = deployed.get((wanted["entrypoint"], wanted["name"]))
        name = f"{client.read_flow(found.flow_id).name}/{found.name}" if found else wanted["name"]
        yield f"deployment {name}", _describe(found, wanted) if found else None


def _describe(found: DeploymentResponse, wanted: dict[str, Any]) -> str | None:
    """When and where a deployment runs; None if it is not as prefect.yaml says."""
    times = {
        (getattr(kept.schedule, "cron", None), getattr(kept.schedule, "timezone", None)) for kept in found.schedules
    }
    as_wanted = (
        found.work_pool_name == wanted["work_pool"]["name"]
        and found.work_queue_name == wanted["work_pool"].get("work_queue_name", "default")
        and times == {(schedule["cron"], schedule["timezone"]) for schedule in wanted.get("schedules", ())}
        and found.parameters == wanted.get("parameters", {})
        and found.job_variables == wanted["work_pool"].get("job_variables", {})
        and found.global_concurrency_limit is None
    )
    if not as_wanted:
        return None
    at = ", ".join(f"{cron} {zone}" for cron, zone in sorted(times)) or "when it is asked for"
    paused = ", paused" if found.paused or not all(schedule.active for schedule in found.schedules) else ""
    return f"{at}{paused}, on the work pool {found.work_pool_name}"


def _describe_queue(client: SyncPrefectClient, pool: str, name: str) -> str | None:
    try:
        queue = client.read_work_queue_by_name(name, pool)
    except ObjectNotFound:
        return None
    paused = ", paused" if queue.is_paused else ""
    return f"one run at a time{paused}" if queue.concurrency_limit == RUNS_AT_ONCE else None


def _limit(client: SyncPrefectClient) -> int | None:
    try:
        found = client.read_global_concurrency_limit_by_name(GPU_LIMIT)
    except ObjectNotFound:
        return None
    return found.limit if found.active else None


app = App(name="python flows/setup_server.py", version_flags=(), suppress_keyboard_interrupt=False)


@app.default
def main(*, gpus: PositiveInt | None = None, alert_block: str | None = None) -> None:
    """Give a Prefect server what this project needs, and look at whether it is there.

    Args:
        gpus: how many trainings may go on at once, one a GPU; empty: as it is, at first 1
        alert_block: the notification block, as type/name, that the server tells of runs whose process was killed, and
            of runs that no worker takes; empty: $FASHION_GAN_ALERT_BLOCK, or as it is, at first nobody
    """
    if PREFECT_API_URL.value() is None:
        raise ServerError(
            "PREFECT_API_URL is not set: there is no server to set up, since the embedded one ends with a command.\n"
            "Start one (make server), then: make setup-server"
        )
    console = Console(highlight=False, soft_wrap=True)
    slug = alert_block or os.environ.get(ALERT_VARIABLE)
    with prefect_session(), get_client(sync_client=True) as client:
        automations = [*AUTOMATIONS, *(alert_automations(slug) if slug else ())]
        set_up(client, gpus, automations)
        complaint = deploy(client)
        seen = dict(look(client, automations))
    for name, how in seen.items():
        console.print(f"{name}: {how}" if how else f"{name}: MISSING, or not as it should be", markup=False)
    missing = [name for name, how in seen.items() if how is None]
    if missing or complaint:
        raise ServerError(
            f"Not everything is as it should be on the server at {PREFECT_API_URL.value()}"
            f"{': ' if missing else ''}{', '.join(missing)}.\n"
            "What is there and of another kind must be removed first, in the server's UI; then run make setup-server "
            f"again.{' Prefect says:' if complaint else ''}\n{complaint}"
        )
    console.print(f"All of it is on the server at {PREFECT_API_URL.value()}", markup=False)


if __name__ == "__main__":
    run_command(app)
