"""Drills with a real server and real workers: a run ends well after kills, locks and cancellations."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from builders import write_own_data
from faults import same_bytes, stopped
from pipeline import Checkout, finish, ran, states, wait_for_checkpoint, wait_until
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from s3_server import BUCKET
from servers import (
    FINAL,
    GPU_WORKER,
    LATE_SOON,
    SET_UP,
    WAIT_FOR_SERVER,
    WORKER,
    ask,
    family,
    newest,
    running,
    running_postgresql,
    running_server,
    runs_of,
    start_nightly,
)

from flows.setup_server import AUTOMATIONS

pytestmark = [pytest.mark.drill, pytest.mark.timeout(1200)]

SETTINGS = {"sample_every": 150, "batch_size": 16, "num_samples": 100, "dataset": "mine", "data_dir": "mine"}
SETTINGS |= {"steps": 300, "run_name": "drill"}
OPTIONS = [part for name, value in SETTINGS.items() for part in (f"--{name.replace('_', '-')}", value)]
COMMAND = ("flows/train_flow.py", *OPTIONS)


def make_checkout(folder: Path) -> Checkout:
    checkout = Checkout.make(folder / "project", folder / "prefect")
    checkout.copy_database()
    checkout.env["PREFECT_WORKER_QUERY_SECONDS"] = "2"  # 10 s without
    checkout.options = ("--checkpoint-seconds", 1, "--extractor-epochs", 2)
    write_own_data(checkout.folder / "mine")
    return checkout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    checkout = make_checkout(tmp_path_factory.mktemp("drills"))
    with running_server(checkout, *SET_UP):
        yield checkout


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the digests of the files that an undisturbed run on this machine publishes."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    make_checkout(folder).run(*COMMAND, "--output-dir", folder / "artifacts")
    return same_bytes(folder / "artifacts")


def test_two_equal_commands_at_once_have_one_training_on_the_worker(server, uninterrupted, tmp_path) -> None:
    command = (*COMMAND, "--output-dir", tmp_path, "--train-on", "gpu")
    before = len(runs_of(server, "train-gan"))
    with running(server, *GPU_WORKER), server.started(*command) as one, server.started(*command) as two:
        outputs = [finish(one), finish(two)]
    assert all("train" in states(output) for output in outputs)
    children = runs_of(server, "train-gan")[before:]
    assert {child["state_type"] for child in children} == {"COMPLETED"}
    trained = [run for run in task_runs(server, children) if run["state_name"] == "Completed"]
    assert len(trained) == 1, "the other one takes its result from the cache"
    assert same_bytes(tmp_path) == uninterrupted


def task_runs(server: Checkout, flow_runs: list[dict]) -> list[dict]:
    ids = [run["id"] for run in flow_runs]
    return ask(server, "task_runs/filter", {"flow_runs": {"id": {"any_": ids}}})


def another_machine(folder: Path) -> tuple[str, ...]:
    """Return a command prefix with which this path is a different folder, as on another machine."""
    namespace = ["unshare", "--map-root-user", "--mount"] if os.getuid() else ["unshare", "--mount"]
    if subprocess.run([*namespace, "true"], check=False).returncode:
        pytest.skip("no mount namespaces here, which simulate a second machine")
    return (*namespace, "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder))


def test_a_worker_on_a_machine_that_shares_no_folder_finds_all_in_the_object_store(
    server, uninterrupted, s3, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(server, "env", server.env | s3.env)
    here = tmp_path / "artifacts"
    here.mkdir()
    options = ("--output-dir", here, "--store-url", f"s3://{BUCKET}/drill", "--train-on", "gpu")
    with running(server, *GPU_WORKER, before=another_machine(here)):
        assert "train" in ran(states(server.run(*COMMAND, *options)))
        assert same_bytes(here) == uninterrupted
        shutil.rmtree(here / "store")
        shutil.rmtree(here / ".results")
        assert "train" not in ran(states(server.run(*COMMAND, *options)))
    assert same_bytes(here) == uninterrupted


def kill_all(pid: int) -> None:
    """Kill a process and its descendants, as the loss of a machine does."""
    for member in family(pid):
        os.kill(member, signal.SIGKILL)


@contextmanager
def database(kind: str) -> Iterator[dict[str, str]]:
    """Return the environment variables that select a server's database, and run the database."""
    with ExitStack() as stack:
        address = stack.enter_context(running_postgresql()) if kind == "PostgreSQL" else None
        yield {"PREFECT_API_DATABASE_CONNECTION_URL": address} if address else {}


@pytest.mark.parametrize(("kind", "seconds_away"), [("SQLite", 10), ("PostgreSQL", 10), ("SQLite", 150)])
def test_a_run_outlives_its_server(uninterrupted, tmp_path, kind: str, seconds_away: float) -> None:
    checkout, folder = make_checkout(tmp_path), tmp_path / "artifacts"
    with (
        database(kind) as env,
        running_server(checkout, *SET_UP, **env) as first,
        running(checkout, *GPU_WORKER),
        checkout.started(*COMMAND, "--output-dir", folder, "--train-on", "gpu") as process,
    ):
        wait_for_checkpoint(folder, process)
        first.kill()
        first.wait()
        time.sleep(seconds_away)
        with running(checkout, "prefect", "server", "start"):
            output = finish(process)
            runs = {flow: newest(checkout, flow)["state_type"] for flow in ("fashion-gan", "train-gan")}
            assert set(ran(states(output))) >= {"train", "publish"}
    assert runs == {"fashion-gan": "COMPLETED", "train-gan": "COMPLETED"}, output
    assert same_bytes(folder) == uninterrupted


def test_a_deployments_run_outlives_a_server_that_is_away_for_long(uninterrupted, tmp_path) -> None:
    checkout, folder = make_checkout(tmp_path), tmp_path / "artifacts"
    with running_server(checkout, *SET_UP) as first, running(checkout, *WORKER), running(checkout, *GPU_WORKER):
        run = start_nightly(checkout, **SETTINGS, output_dir=str(folder))
        wait_for_checkpoint(folder)
        first.kill()
        first.wait()
        time.sleep(200)
        with running(checkout, "prefect", "server", "start"):
            checkout.run("-c", WAIT_FOR_SERVER)
            wait_until(lambda: (folder / "latest").exists(), 600)
            wait_until(lambda: ask(checkout, f"flow_runs/{run}")["state_type"] in FINAL, 300)
            state = ask(checkout, f"flow_runs/{run}")["state"]
    assert state["type"] == "COMPLETED", state
    assert same_bytes(folder) == uninterrupted


def test_a_deployments_run_killed_with_its_worker_leaves_a_training_that_is_found(
    server, uninterrupted, tmp_path
) -> None:
    with running(server, *GPU_WORKER):
        with running(server, *WORKER) as worker:
            run = start_nightly(server, **SETTINGS, output_dir=str(tmp_path))
            wait_for_checkpoint(tmp_path)
            child = newest(server, "train-gan")["id"]
            kill_all(worker.pid)
        for run_id, state in ((run, "CRASHED"), (child, "COMPLETED")):
            wait_for_state(server, run_id, state, 300)
        with running(server, *WORKER):
            again = start_nightly(server, **SETTINGS, output_dir=str(tmp_path))
            wait_for_state(server, again, "COMPLETED", 300)
    assert newest(server, "train-gan")["id"] == child, "its finished training is cached"
    assert same_bytes(tmp_path) == uninterrupted


def test_a_run_that_was_taken_and_never_started_does_not_hold_up_a_late_one(uninterrupted, tmp_path) -> None:
    checkout, folder = make_checkout(tmp_path), tmp_path / "artifacts"
    never_starting = AUTOMATIONS[1]
    soon = never_starting.trigger.model_copy(update={"within": timedelta(seconds=20)})  # 900 s without
    with running_server(checkout, *SET_UP, **LATE_SOON):
        with (
            temporary_settings({PREFECT_API_URL: checkout.env["PREFECT_API_URL"]}),
            get_client(sync_client=True) as api,
        ):
            (automation,) = api.read_automations_by_name(never_starting.name)
            api.update_automation(automation.id, never_starting.model_copy(update={"trigger": soon}))
        taken, following = (start_nightly(checkout, **SETTINGS, output_dir=str(folder), train_on="here") for _ in "12")
        # The state that a worker sets before it starts a run; this worker is killed then.
        ask(checkout, f"flow_runs/{taken}/set_state", {"state": {"type": "PENDING"}})
        wait_until(lambda: ask(checkout, f"flow_runs/{following}")["state_name"] == "Late", 60)
        with running(checkout, *WORKER):
            wait_for_state(checkout, taken, "CRASHED", 120)
            wait_for_state(checkout, following, "COMPLETED", 300)
    assert same_bytes(folder) == uninterrupted


STAGES_WITHOUT_SERVER = ["fetch record", "normalize file", "train record", "compare file", "publish manifest"]


def test_a_run_outlives_a_server_that_is_killed_in_one_stage_after_the_other(uninterrupted, tmp_path) -> None:
    checkout, folder = make_checkout(tmp_path), tmp_path / "artifacts"
    command = (*COMMAND, "--output-dir", folder, "--train-on", "gpu")
    with running_server(checkout, *SET_UP) as server, ExitStack() as stack:
        stack.enter_context(running(checkout, *GPU_WORKER))
        run = stack.enter_context(stopped(checkout, ",".join(STAGES_WITHOUT_SERVER), command))
        for moment in STAGES_WITHOUT_SERVER:
            server.kill()
            server.wait()
            run.go_on()
            time.sleep(10)
            server = stack.enter_context(running(checkout, "prefect", "server", "start"))
            if moment != STAGES_WITHOUT_SERVER[-1]:
                run.wait_for_stop()
        code, output = run.end()
        assert code == 0, output
        assert newest(checkout, "fashion-gan")["state_type"] == "COMPLETED", output
    assert "Traceback" not in output
    assert same_bytes(folder) == uninterrupted


LOCK = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("seconds", [5, 30])
def test_a_run_waits_for_a_database_that_is_locked(server, uninterrupted, tmp_path, seconds: int) -> None:
    with server.started(*COMMAND, "--output-dir", tmp_path) as process:
        wait_for_checkpoint(tmp_path, process)
        with server.started("-c", LOCK, Path(server.env["PREFECT_HOME"]) / "prefect.db", seconds) as locker:
            assert locker.stdout.readline() == "locked\n"
            output = finish(process)
    assert newest(server, "fashion-gan")["state_type"] == "COMPLETED", output
    assert same_bytes(tmp_path) == uninterrupted


def test_a_worker_killed_with_its_training_costs_no_more_than_waiting(server, uninterrupted, tmp_path) -> None:
    command = (*COMMAND, "--output-dir", tmp_path, "--train-on", "gpu")
    with server.started(*command) as process:
        with running(server, *GPU_WORKER) as worker:
            wait_for_checkpoint(tmp_path, process)
            lost = newest(server, "train-gan")["id"]
            kill_all(worker.pid)
        with running(server, *GPU_WORKER):
            output = finish(process)
    assert ask(server, f"flow_runs/{lost}")["state_type"] == "CRASHED"
    again = newest(server, "train-gan")
    assert (again["id"] != lost, again["state_type"]) == (True, "COMPLETED"), output
    assert resumed(server, again["id"])
    assert same_bytes(tmp_path) == uninterrupted


def resumed(server: Checkout, run_id: str) -> bool:
    """Return whether the training of a finished run continued from a checkpoint, as its log says."""
    logs = ask(server, "logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}})
    return any("Resuming from the checkpoint after" in line["message"] for line in logs)


def gpus_in_use(server: Checkout) -> int:
    return ask(server, "v2/concurrency_limits/gpu")["active_slots"]


def test_a_gpu_is_free_a_minute_after_its_holder_was_killed(server, uninterrupted, tmp_path) -> None:
    command = (*COMMAND, "--output-dir", tmp_path, "--train-on", "gpu")
    with running(server, *GPU_WORKER) as worker, server.started(*command) as process:
        wait_for_checkpoint(tmp_path, process)
        lost = newest(server, "train-gan")["id"]
        training = family(worker.pid)[1:]
        assert gpus_in_use(server) == 1
        for member in training:
            os.kill(member, signal.SIGKILL)
        killed = time.monotonic()
        assert gpus_in_use(server) == 1, "nobody has released it"
        wait_until(lambda: newest(server, "train-gan")["id"] != lost)
        again = newest(server, "train-gan")
        wait_until(lambda: task_runs(server, [again]))
        waited = time.monotonic() - killed
        assert gpus_in_use(server) == 1
        output = finish(process)
    assert ask(server, f"flow_runs/{lost}")["state_type"] == "CRASHED", output
    assert 10 < waited < 60 + 45, "the rest of a lease of 60 s, and the start of a process"
    assert gpus_in_use(server) == 0
    assert same_bytes(tmp_path) == uninterrupted


def cancel(server: Checkout, run_id: str) -> None:
    """Cancel a run as the button of the UI does."""
    ask(server, f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})


def wait_for_state(server: Checkout, run_id: str, state: str, seconds: float = 60) -> None:
    wait_until(lambda: ask(server, f"flow_runs/{run_id}")["state_type"] == state, seconds)


def stages_are_cancelled(server: Checkout, run: str) -> bool:
    """Return whether a run has a Cancelled stage, and none that is Failed, Crashed or still Running."""
    stages = ask(server, "task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
    states = {stage["state_type"] for stage in stages}
    return "CANCELLED" in states and states <= {"COMPLETED", "CANCELLED"}


def test_cancelling_a_deployments_run_ends_all_of_it_and_the_next_one_goes_on(server, uninterrupted, tmp_path) -> None:
    def start() -> str:
        return start_nightly(server, **SETTINGS, output_dir=str(tmp_path))

    with running(server, *WORKER) as worker, running(server, *GPU_WORKER) as gpu_worker:
        workers = worker.pid, gpu_worker.pid
        run = start()
        wait_for_checkpoint(tmp_path)
        child = newest(server, "train-gan")["id"]
        assert all(len(family(pid)) > 1 for pid in workers)
        cancel(server, run)
        for run_id in (run, child):
            wait_for_state(server, run_id, "CANCELLED")
            wait_until(partial(stages_are_cancelled, server, run_id), 30)
        wait_until(lambda: all(len(family(pid)) == 1 for pid in workers), 60)
        assert not (tmp_path / "latest").exists()
        wait_for_state(server, start(), "COMPLETED", 300)
    assert resumed(server, newest(server, "train-gan")["id"])
    assert same_bytes(tmp_path) == uninterrupted


@pytest.mark.parametrize("where", ["here", "gpu"])
def test_cancelling_the_run_of_a_command_ends_it_and_its_training(server, uninterrupted, tmp_path, where: str) -> None:
    command = (*COMMAND, "--output-dir", tmp_path, "--train-on", where)
    with running(server, *GPU_WORKER) as worker:
        with server.started(*command) as process:
            wait_for_checkpoint(tmp_path, process)
            flows = ("fashion-gan", "train-gan") if where == "gpu" else ("fashion-gan",)
            runs = [newest(server, flow)["id"] for flow in flows]
            cancel(server, runs[0])
            output, _ = process.communicate(timeout=60)
        assert process.returncode == 1, output
        assert "Error: The run was cancelled" in output
        assert "Traceback" not in output
        for run_id in runs:
            wait_for_state(server, run_id, "CANCELLED", 30)
            wait_until(partial(stages_are_cancelled, server, run_id), 30)
        wait_until(lambda: len(family(worker.pid)) == 1, 60)
        server.run(*command)
    assert resumed(server, newest(server, flows[-1])["id"])
    assert same_bytes(tmp_path) == uninterrupted
