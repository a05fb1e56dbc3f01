"""A server with all that the project needs, and what it shows: set up as with make, on SQLite and on PostgreSQL."""

import io
import re
import signal
import urllib.error
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import timedelta
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from pipeline import SMALL, Checkout, wait_until
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate, GlobalConcurrencyLimitUpdate
from prefect.client.schemas.schedules import SCHEDULE_TYPES, IntervalSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings
from servers import FINAL, LOOPBACK, addresses_at, answer_to, ask, running_postgresql, running_server, runs_of

import flows.setup_server
from flows.server.alerts import CRASHES_WITHOUT_HOOKS, AlertError
from flows.setup_server import AUTOMATIONS, check, main
from flows.shared_options import ALERT_VARIABLE
from tasks.hand_over import GPU_LIMIT

ALL_IS_THERE = {
    "work pool default: process",
    "work pool gpu: process",
    "work queue nightly: one run at a time",
    "work queue weekly: one run at a time",
    "work queue prune: one run at a time",
    "work queue digest: one run at a time",
    "concurrency limit gpu: 1 training at once",
    "automation Runs without heartbeats have crashed: "
    "Marks a run as Crashed that sent no heartbeat for 120 s: its process was killed.",
    "automation Runs that never start have crashed: "
    "Marks a run as Crashed that a worker took 900 s ago and that does not run: the worker was killed with it.",
    "deployment fashion-gan/nightly: 0 2 * * * Europe/Berlin, on the work pool default",
    "deployment sweep/weekly: 0 4 * * 0 Europe/Berlin, on the work pool default",
    "deployment prune/weekly: 0 12 * * 0 Europe/Berlin, on the work pool default",
    "deployment digest/weekly: 0 8 * * 1 Europe/Berlin, paused, on the work pool default",
    "deployment train-gan/gpu: on demand, on the work pool gpu",
}
ALERTS = (
    "automation Alert about crashed runs: Sends an alert through custom-webhook/{} about crashed runs.",
    "automation Alert about runs that do not start: "
    "Sends an alert through custom-webhook/{} about runs that do not start.",
)
TINY_FLOW = "import flows; from prefect import flow; flow(lambda: None, name='tiny', flow_run_name='{}')()"
FEW = ("--steps", 6, "--sample-every", 3, "--batch-size", 16, "--num-samples", 100, "--run-name", "few", *SMALL)


def set_up(server: Checkout, **options: Any) -> str:
    """Run the set-up command in this process; return what it prints."""
    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        temporary_settings({PREFECT_API_URL: server.env["PREFECT_API_URL"]}),
        redirect_stdout(printed),
    ):
        patch.setattr(flows.setup_server, "PROJECT_ROOT", server.folder)
        for name in ("PREFECT_API_URL", "PREFECT_HOME", "PYTHONPATH"):
            patch.setenv(name, server.env[name])
        main(**options)
    return printed.getvalue()


@pytest.fixture
def deployed(monkeypatch) -> None:
    """Leave out the deployments, which are on the server already: they take the longest."""
    monkeypatch.setattr(flows.setup_server, "deploy", lambda client: "")


def things(server: Checkout) -> dict[str, list[str]]:
    """What is on the server, by its ids."""
    kinds = ("work_pools", "v2/concurrency_limits", "automations", "deployments")
    found = {kind: [thing["id"] for thing in ask(server, f"{kind}/filter", {})] for kind in kinds}
    found["schedules"] = [schedule["cron"] for schedule in schedules(server)]
    return found


def schedules(server: Checkout) -> list[dict]:
    found = ask(server, "deployments/filter", {})
    return sorted((s["schedule"] for deployment in found for s in deployment["schedules"]), key=lambda s: s["cron"])


def test_runs_made_with_the_embedded_server_are_shown(server: Checkout) -> None:
    assert "before" in {run["name"] for run in ask(server, "flow_runs/filter", {})}


def test_a_server_listens_on_loopback_only(server: Checkout) -> None:
    assert addresses_at(int(server.env["PREFECT_SERVER_API_PORT"])) == {LOOPBACK}


def test_the_embedded_server_listens_on_loopback_only_and_answers_no_foreign_page(server: Checkout) -> None:
    output = (server.folder.parent / "embedded.txt").read_text()
    (port,) = re.findall(r"^port (\d+) ", output, re.MULTILINE)
    addresses = re.findall(rf"^ *\d+: (\w+):{int(port):04X} \w+:\w+ 0A ", output, re.MULTILINE)
    assert addresses == [LOOPBACK]
    assert "from elsewhere 403" in output
    assert "may a page 400" in output


ORIGIN = "http://evil.example"
FROM_ELSEWHERE = [
    ("options", "/deployments/", {"access-control-request-method": "POST"}, 400),
    ("post", "/deployments/", {"content-type": "application/json"}, 403),
    ("post", "/deployments/", {"content-type": ""}, 403),  # of a Blob: browsers send it without asking first
    ("delete", "/deployments/x", {}, 403),
    ("get", "/csrf-token?client=x", {}, 200),
    ("get", "/work_pools/x", {}, 404),
]


def test_a_page_of_another_site_cannot_change_anything_or_read_an_answer(server: Checkout) -> None:
    for method, path, headers, code in FROM_ELSEWHERE:
        answered, told = answer_to(server, method, path, {"origin": ORIGIN, **headers})
        assert (answered, told["access-control-allow-origin"]) == (code, None), (method, path, headers)
    port = server.env["PREFECT_SERVER_API_PORT"]
    for own in (f"http://127.0.0.1:{port}", f"http://localhost:{port}"):
        headers = {"origin": own, "access-control-request-method": "POST"}
        answered, told = answer_to(server, "options", "/deployments/", headers)
        assert (answered, told["access-control-allow-origin"]) == (200, own), "the UI is at either name"


def test_a_second_set_up_changes_nothing_and_lists_everything(server: Checkout) -> None:
    before = things(server)
    assert set(set_up(server).splitlines()) >= ALL_IS_THERE
    assert things(server) == before


def test_the_number_of_gpus_is_kept_until_another_one_is_given(server: Checkout, deployed) -> None:
    before = things(server)
    assert "2 trainings at once" in set_up(server, gpus=2)
    assert "2 trainings at once" in set_up(server)
    assert things(server) == before


def test_a_new_server_has_a_slot_for_each_gpu_of_its_machine(server: Checkout, deployed, monkeypatch) -> None:
    with temporary_settings({PREFECT_API_URL: server.env["PREFECT_API_URL"]}), get_client(sync_client=True) as client:
        client.delete_global_concurrency_limit_by_name(GPU_LIMIT)
    monkeypatch.setattr(flows.setup_server, "count_gpus", lambda: 4)
    assert "4 trainings at once" in set_up(server)


def test_what_was_switched_off_by_hand_stays_off_and_is_complete(server: Checkout, deployed) -> None:
    with temporary_settings({PREFECT_API_URL: server.env["PREFECT_API_URL"]}), get_client(sync_client=True) as client:
        (automation,) = client.read_automations_by_name(AUTOMATIONS[0].name)
        client.pause_automation(automation.id)
        limit = client.read_global_concurrency_limit_by_name(GPU_LIMIT)
        client.update_global_concurrency_limit(GPU_LIMIT, GlobalConcurrencyLimitUpdate(active=False))
        output = set_up(server)
        assert f"automation {automation.name}: {automation.description}, paused\n" in output
        assert [found.enabled for found in client.read_automations_by_name(automation.name)] == [False]
        assert f"{limit.limit} training{'s' * (limit.limit > 1)} at once, switched off" in output
        assert client.read_global_concurrency_limit_by_name(GPU_LIMIT).limit == limit.limit
        client.update_global_concurrency_limit(GPU_LIMIT, GlobalConcurrencyLimitUpdate(active=True))
        client.resume_automation(automation.id)


def change_all(client: SyncPrefectClient) -> set[str]:
    """Change another thing of each deployment, of a queue and of the automation; how these are called."""

    def change(name: str, **values: Any) -> str:
        client.update_deployment(client.read_deployment_by_name(name).id, DeploymentUpdate(**values))
        return f"deployment {name}"

    heartbeats = AUTOMATIONS[0]
    (automation,) = client.read_automations_by_name(heartbeats.name)
    trigger = heartbeats.trigger.model_copy(update={"within": timedelta(hours=1)})
    client.update_work_queue(client.read_work_queue_by_name("weekly", "default").id, concurrency_limit=2)
    client.update_automation(automation.id, heartbeats.model_copy(update={"trigger": trigger}))
    return {
        f"automation {heartbeats.name}",
        change("fashion-gan/nightly", parameters={"settings": {"recipe": "article", "train_on": "here"}}),
        change("sweep/weekly", work_queue_name="default"),
        change("prune/weekly", concurrency_limit=2),
        change("train-gan/gpu", job_variables={"env": {"PREFECT_CLIENT_MAX_RETRIES": "1"}}),
        "work queue weekly",
    }


def test_manual_changes_are_found_and_reverted_and_schedules_stay_on_or_off(server: Checkout) -> None:
    before = things(server)
    with temporary_settings({PREFECT_API_URL: server.env["PREFECT_API_URL"]}), get_client(sync_client=True) as client:
        nightly, weekly = map(client.read_deployment_by_name, ("fashion-gan/nightly", "sweep/weekly"))
        client.update_deployment_schedule(nightly.id, nightly.schedules[0].id, active=False)
        client.pause_deployment(weekly.id)
        digest = client.read_deployment_by_name("digest/weekly")
        client.update_deployment_schedule(digest.id, digest.schedules[0].id, active=True)
        assert all(dict(check(client, AUTOMATIONS)).values())
        changed = change_all(client)
        more: list[tuple[SCHEDULE_TYPES, bool]] = [(IntervalSchedule(interval=timedelta(hours=3)), True)]
        client.create_deployment_schedules(nightly.id, more)
        assert {name for name, how in check(client, AUTOMATIONS) if how is None} == changed
        output = set_up(server)
        assert all(dict(check(client, AUTOMATIONS)).values())
        assert things(server) == before
        for deployment, at in ((nightly, "0 2 * * *"), (weekly, "0 4 * * 0")):
            assert f"{deployment.name}: {at} Europe/Berlin, paused, on the work pool default" in output
        (switched_on,) = client.read_deployment_schedules(digest.id)
        assert switched_on.active
        client.update_deployment_schedule(digest.id, switched_on.id, active=False)
        (paused,) = client.read_deployment_schedules(nightly.id)
        client.update_deployment_schedule(nightly.id, paused.id, active=True)
        client.resume_deployment(weekly.id)


def test_the_messages_of_runs_that_automations_mark_as_crashed_are_those_that_alerts_match(server: Checkout) -> None:
    actions = [action for found in ask(server, "automations/filter", {}) for action in found["actions"]]
    marking = [action["message"] for action in actions if action["type"] == "change-flow-run-state"]
    assert len(marking) == 2
    assert all(any(fnmatch(message, pattern) for pattern in CRASHES_WITHOUT_HOOKS) for message in marking)


def test_the_server_alerts_through_the_named_block_about_killed_and_late_runs(
    server: Checkout, deployed, monkeypatch
) -> None:
    with pytest.raises(AlertError, match="There is no alert block custom-webhook/none"):
        set_up(server, alert_block="custom-webhook/none")

    with temporary_settings({PREFECT_API_URL: server.env["PREFECT_API_URL"]}):
        for name in ("team", "other"):
            CustomWebhookNotificationBlock(name=name, url="http://127.0.0.1:1/x").save(name)
    before = len(things(server)["automations"])
    output = set_up(server, alert_block="custom-webhook/team")
    assert all(line.format("team") in output for line in ALERTS)
    assert len(things(server)["automations"]) == before + 2
    monkeypatch.setenv(ALERT_VARIABLE, "custom-webhook/other")
    output = set_up(server)
    assert all(line.format("other") in output for line in ALERTS), "the new block replaces the first one"
    monkeypatch.delenv(ALERT_VARIABLE)
    set_up(server)
    assert len(things(server)["automations"]) == before + 2, "the named block is kept"
    other = ask(server, "block_types/slug/custom-webhook/block_documents/name/other")["id"]
    alerts = [found for found in ask(server, "automations/filter", {}) if found["name"].startswith("Alert about")]
    assert [action["block_document_id"] for found in alerts for action in found["actions"]] == [other, other]


def test_a_failed_set_up_names_what_is_missing_with_exit_code_1(server: Checkout, tmp_path: Path) -> None:
    lacking = Checkout.make(tmp_path / "project", tmp_path / "prefect")
    lacking.env["PREFECT_API_URL"] = server.env["PREFECT_API_URL"]
    lacking.edit("prefect.yaml", "    work_pool:\n      name: gpu", "    work_pool:\n      name: nowhere")
    with lacking.started("flows/setup_server.py") as process:
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "deployment train-gan/gpu: MISSING" in output
    assert "Error: The set-up of the server at" in output
    assert "Traceback" not in output


def deployment(server: Checkout, name: str) -> dict:
    """A deployment by its whole name, such as prune/weekly."""
    return ask(server, f"deployments/name/{name}")


FORMS = [
    (
        "fashion-gan/nightly",
        "RunSettings",
        {"settings": {"recipe": "conditional", "seed": "date", "train_on": "gpu"}},
    ),
    (
        "sweep/weekly",
        "SweepSettings",
        {"sweep": {"recipes": "conditional", "seeds": "date"}, "settings": {"train_on": "gpu"}},
    ),
    ("prune/weekly", "PruneSettings", {"settings": {"older_than": 30, "keep_runs": 90}}),
]


@pytest.mark.parametrize(("name", "model", "parameters"), FORMS)
def test_the_run_form_explains_every_parameter_and_shows_the_deployments_defaults(
    server: Checkout, name: str, model: str, parameters: dict[str, object]
) -> None:
    found = deployment(server, name)
    fields = found["parameter_openapi_schema"]["definitions"][model]["properties"]
    assert all(field.get("description") for field in fields.values()), fields
    assert found["parameters"] == parameters


BAD_FORMS = [
    ("fashion-gan/nightly", {"steps": 0}),
    ("fashion-gan/nightly", {"run_name": "../x"}),
    ("fashion-gan/nightly", {"alert_block": "../../etc"}),
    ("fashion-gan/nightly", {"no_such_option": 1}),
    ("prune/weekly", {"older_than": -1}),
    ("prune/weekly", {"older_than": "many"}),
]


@pytest.mark.parametrize(("name", "settings"), BAD_FORMS)
def test_the_run_form_rejects_invalid_values(server: Checkout, name: str, settings: dict) -> None:
    before, path = len(runs_of(server, name.split("/")[0])), f"deployments/{deployment(server, name)['id']}"
    with pytest.raises(urllib.error.HTTPError, match="409") as refused:
        ask(server, f"{path}/create_flow_run", {"parameters": {"settings": settings}})
    assert "Validation failed" in refused.value.read().decode()
    assert len(runs_of(server, name.split("/")[0])) == before


def test_a_process_that_serves_keeps_the_schedule_and_runs_without_a_worker(server: Checkout) -> None:
    options = (*FEW, "--dataset", "mine", "--data-dir", "mine", "--output-dir", "served")
    with server.started(
        "flows/train_flow.py", *options, "--serve", "0 3 * * *", "--time-zone", "Asia/Tokyo"
    ) as process:
        query = {"deployments": {"name": {"like_": "served-"}}}
        wait_until(lambda: ask(server, "deployments/filter", query) or process.poll() is not None)
        (served,) = ask(server, "deployments/filter", query)
        (schedule,) = served["schedules"]
        assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("0 3 * * *", "Asia/Tokyo")
        run = ask(server, f"deployments/{served['id']}/create_flow_run", {})
        wait_until(lambda: ask(server, f"flow_runs/{run['id']}")["state_type"] in FINAL)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=300)
    assert ask(server, f"flow_runs/{run['id']}")["state_type"] == "COMPLETED", output
    assert (server.folder / "served" / "runs" / "few" / "report.html").is_file()
    assert "Traceback" not in output


def scheduled(server: Checkout) -> set[str]:
    """The deployments whose next run is on the server's list."""
    waiting = ask(server, "flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
    return {run["deployment_id"] for run in waiting if run["auto_scheduled"]}


def test_the_server_schedules_the_next_runs(server: Checkout) -> None:
    wait_until(lambda: len(scheduled(server)) >= 3, 60)


@pytest.fixture
def postgresql() -> Iterator[str]:
    with running_postgresql() as address:
        yield address


@pytest.mark.drill
def test_one_variable_puts_the_server_on_postgresql(tmp_path: Path, postgresql: str) -> None:
    checkout = Checkout.make(tmp_path / "project", tmp_path / "prefect")
    with running_server(checkout, PREFECT_API_DATABASE_CONNECTION_URL=postgresql):
        assert set(checkout.run("flows/setup_server.py").splitlines()) >= ALL_IS_THERE
        checkout.run("-c", TINY_FLOW.format("on PostgreSQL"))
        (run,) = ask(checkout, "flow_runs/filter", {"flow_runs": {"name": {"any_": ["on PostgreSQL"]}}})
        assert run["state_type"] == "COMPLETED"
        wait_until(lambda: len(scheduled(checkout)) == 3, 60)
    assert not (tmp_path / "prefect" / "prefect.db").exists()
