"""Set up a Prefect server for this project, update it, and check it. The command can be repeated at any time.

python flows/setup_server.py --help
"""

import flows  # noqa: F401  # isort: skip  # sets environment variables that Prefect reads when it is imported

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import yaml
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

from flows.server.alerts import NEVER_STARTED, NO_HEARTBEAT, alert_automations
from flows.server.session import ServerError, prefect_session
from flows.shared_options import ALERT_VARIABLE
from gan.command import new_app, run_command, terminal
from gan.config import PROJECT_ROOT
from gan.system.gpus import count_gpus
from tasks.hand_over import GPU_LIMIT, GPU_POOL

T = TypeVar("T")

POOLS = ("default", GPU_POOL)
RUNS_AT_ONCE = 1  # concurrency limit of each work queue in prefect.yaml
SILENCE_SECONDS = 120  # four heartbeats
PENDING_SECONDS = 900  # a worker needs seconds to start a run


def _mark_as_crashed(name: str, *, which: str, after: str, alive: str, seconds: int, message: str) -> AutomationCore:
    """Return an automation that marks a run as Crashed if no event `alive` follows `after` within `seconds`."""
    return AutomationCore(
        name=name,
        description=f"Marks a run as Crashed {which}.",
        trigger=EventTrigger(
            after={f"prefect.flow-run.{after}"},
            expect={f"prefect.flow-run.{event}" for event in (alive, "Completed", "Failed", "Cancelled", "Crashed")},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            within=timedelta(seconds=seconds),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=f"{message} for {seconds} s.")],
    )


AUTOMATIONS = (
    _mark_as_crashed(
        "Runs without heartbeats have crashed",
        which=f"that sent no heartbeat for {SILENCE_SECONDS} s: its process was killed",
        after="heartbeat",
        alive="heartbeat",
        seconds=SILENCE_SECONDS,
        message=NO_HEARTBEAT,
    ),
    _mark_as_crashed(
        "Runs that never start have crashed",
        which=f"that a worker took {PENDING_SECONDS} s ago and that does not run: the worker was killed with it",
        after="Pending",
        alive="Running",
        seconds=PENDING_SECONDS,
        message=NEVER_STARTED,
    ),
)


def set_up(client: SyncPrefectClient, gpus: int | None, automations: Sequence[AutomationCore]) -> None:
    """Create pools, queues, the limit and automations, and update those that differ. Nothing is removed.

    `gpus` is how many trainings may run at once. None keeps the limit. On a new server it is then the number of this
    machine's GPUs, or 1.
    """
    for name in POOLS:
        if _read(client.read_work_pool, name) is None:
            client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    for pool, name in _queues():
        queue = _read(client.read_work_queue_by_name, name, pool) or client.create_work_queue(name, work_pool_name=pool)
        client.update_work_queue(queue.id, concurrency_limit=RUNS_AT_ONCE)
    if gpus is not None or _read(client.read_global_concurrency_limit_by_name, GPU_LIMIT) is None:
        client.upsert_global_concurrency_limit_by_name(GPU_LIMIT, gpus or count_gpus() or 1)
    for automation in automations:
        if existing := client.read_automations_by_name(automation.name):
            client.update_automation(existing[0].id, automation)
        else:
            client.create_automation(automation)


def _read(read: Callable[..., T], *names: str) -> T | None:
    """Return what a method of the client reads; None if it is not on the server."""
    try:
        return read(*names)
    except ObjectNotFound:
        return None


def _deployments() -> Any:
    return yaml.safe_load((PROJECT_ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]


def _queues() -> list[tuple[str, str]]:
    """Return the work pool and the name of each work queue in prefect.yaml."""
    pools = [deployment["work_pool"] for deployment in _deployments()]
    return [(pool["name"], pool["work_queue_name"]) for pool in pools if "work_queue_name" in pool]


def deploy(client: SyncPrefectClient) -> str:
    """Deploy prefect.yaml with Prefect's command, and return its output if it failed, else an empty string.

    What was paused stays paused, and a schedule that was switched on stays on: Prefect's command resumes deployments,
    and sets schedules to what prefect.yaml says.
    """
    before = [found for found in client.read_deployments() if found.work_pool_name in POOLS]
    command = [sys.executable, "-m", "prefect", "deploy", "--all", "--no-prompt"]
    try:
        done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, encoding="utf-8", errors="replace")
    finally:
        for deployment in before:
            if deployment.paused:
                client.pause_deployment(deployment.id)
            active = {schedule.slug: schedule.active for schedule in deployment.schedules}
            for schedule in client.read_deployment_schedules(deployment.id):
                if schedule.active != (wanted := active.get(schedule.slug, schedule.active)):
                    client.update_deployment_schedule(deployment.id, schedule.id, active=wanted)
    return f"{done.stdout}{done.stderr}" if done.returncode else ""


def check(client: SyncPrefectClient, automations: Sequence[AutomationCore]) -> Iterator[tuple[str, str | None]]:
    """Yield the name of each required object, and its description; None if it is missing or different."""
    for name in POOLS:
        pool = _read(client.read_work_pool, name)
        paused = ", paused" if pool and pool.is_paused else ""
        yield f"work pool {name}", f"process{paused}" if pool and pool.type == "process" else None
    for pool_name, name in _queues():
        queue = _read(client.read_work_queue_by_name, name, pool_name)
        paused = ", paused" if queue and queue.is_paused else ""
        is_limited = queue is not None and queue.concurrency_limit == RUNS_AT_ONCE
        yield f"work queue {name}", f"one run at a time{paused}" if is_limited else None
    yield f"concurrency limit {GPU_LIMIT}", _describe_limit(client)
    for automation in automations:
        same = [
            kept.enabled
            for kept in client.read_automations_by_name(automation.name)
            if (kept.trigger, kept.actions) == (automation.trigger, automation.actions)
        ]
        paused = "" if any(same) else ", paused"
        yield f"automation {automation.name}", f"{automation.description}{paused}" if same else None
    deployed = {(found.entrypoint, found.name): found for found in client.read_deployments()}
    for wanted in _deployments():
        found = deployed.get((wanted["entrypoint"], wanted["name"]))
        name = f"{client.read_flow(found.flow_id).name}/{found.name}" if found else wanted["name"]
        yield f"deployment {name}", _describe_deployment(found, wanted) if found else None


def _describe_limit(client: SyncPrefectClient) -> str | None:
    found = _read(client.read_global_concurrency_limit_by_name, GPU_LIMIT)
    if not found or not found.limit:
        return None
    return f"{found.limit} training{'s' * (found.limit > 1)} at once{'' if found.active else ', switched off'}"


def _describe_deployment(found: DeploymentResponse, wanted: dict[str, Any]) -> str | None:
    """Return when and where a deployment runs; None if it differs from prefect.yaml."""
    schedules, pool = [kept.schedule for kept in found.schedules], wanted["work_pool"]
    times = {(getattr(schedule, "cron", None), getattr(schedule, "timezone", None)) for schedule in schedules}
    expected_times = {(schedule["cron"], schedule["timezone"]) for schedule in wanted.get("schedules", ())}
    queue, variables = pool.get("work_queue_name", "default"), pool.get("job_variables", {})
    if (
        (found.work_pool_name, found.work_queue_name, found.job_variables) != (pool["name"], queue, variables)
        or (found.parameters, times) != (wanted.get("parameters", {}), expected_times)
        or found.global_concurrency_limit is not None
    ):
        return None
    at = ", ".join(f"{cron} {zone}" for cron, zone in sorted(times)) or "on demand"
    paused = ", paused" if found.paused or not all(schedule.active for schedule in found.schedules) else ""
    return f"{at}{paused}, on the work pool {found.work_pool_name}"


app = new_app("flows/setup_server.py")


@app.default
def main(*, gpus: PositiveInt | None = None, alert_block: str | None = None) -> None:
    """Set up a Prefect server for this project, and check the result.

    Args:
        gpus: how many trainings may run at once, one on each GPU; empty: unchanged, and on a new server as many as
            this machine has GPUs, or 1
        alert_block: the notification block, as type/name, for alerts of the server about runs whose process was killed
            and runs that no worker takes; empty: $FASHION_GAN_ALERT_BLOCK, or unchanged, and none on a new server
    """
    slug = alert_block or os.environ.get(ALERT_VARIABLE)
    with prefect_session("Only a permanent Prefect server can be set up"), get_client(sync_client=True) as client:
        automations = [*AUTOMATIONS, *(alert_automations(slug) if slug else ())]
        set_up(client, gpus, automations)
        complaint = deploy(client)
        found = dict(check(client, automations))
    console = terminal()
    for name, description in found.items():
        console.print(f"{name}: {description or 'MISSING, or different from what is required'}")
    missing = [name for name, description in found.items() if description is None]
    if missing or complaint:
        raise ServerError(
            f"The set-up of the server at {PREFECT_API_URL.value()} is incomplete"
            f"{': ' if missing else ''}{', '.join(missing)}.\n"
            "Remove what differs in the server's UI, then run make setup-server again."
            f"{' Prefect says:' if complaint else ''}\n{complaint}"
        )
    console.print(f"The server at {PREFECT_API_URL.value()} is set up completely.")


if __name__ == "__main__":
    run_command(app)
