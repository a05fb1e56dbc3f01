"""Training on a GPU worker, with a real server and a real process worker that trains on the CPU."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from narrowing import not_none
from pipeline import PROJECT, SELDOM, SMALL, Checkout, checkpoints_in, free_port, ran, states, wait_until
from prefect.client.orchestration import get_client
from prefect.client.schemas import FlowRun
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled
from servers import (
    FINAL,
    GPU_WORKER,
    WAIT_FOR_SERVER,
    WORKER,
    artifacts_of,
    ask,
    family,
    newest,
    running,
    runs_of,
    start_nightly,
    wait_until_it_trains,
)

from tasks.hand_over import _advice_if_stuck

OPERATIONS = (PROJECT / "docs" / "operations.md").read_text()
OWN = ("--dataset", "mine", "--data-dir", "mine")  # small, and in the project: quick to judge
FEW = ("--steps", 6, "--sample-every", 3, "--batch-size", 16, "--num-samples", 100, *OWN, *SMALL)
FEW += ("--output-dir", "elsewhere")  # so that the nightly run, which has the project's own folder, is the first there
LONG = ("--steps", 100_000, "--num-samples", 100, *OWN, *SMALL)


@pytest.fixture(scope="module")
def gpu_worker(server: Checkout) -> Iterator[None]:
    with running(server, *GPU_WORKER):
        yield


@pytest.fixture(scope="module")
def worker(server: Checkout) -> Iterator[None]:
    with running(server, *WORKER):
        yield


def test_without_a_worker_a_run_ends_in_time_and_says_how_to_start_one(server: Checkout) -> None:
    with server.started("flows/train_flow.py", *FEW, "--train-on", "gpu", "--worker-timeout", 3) as process:
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "Error: The training was not started on the work pool gpu within 3 s." in output
    assert "make gpu-worker" in output
    assert "Traceback" not in output
    assert newest(server, "train-gan")["state_type"] == "CANCELLED"


def unit(started_by: str) -> dict[str, str]:
    """Return the systemd unit of docs/operations.md that is started by a command."""
    (found,) = [text for text in OPERATIONS.split("```") if f"\nExecStart={started_by}\n" in text]
    return dict(line.split("=", 1) for line in found.splitlines() if "=" in line and not line.startswith("#"))


@contextmanager
def running_under_systemd(checkout: Checkout, target: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the unit of a make target, and stop it at the end as systemd does."""
    settings = unit(f"/usr/bin/make {target.removeprefix('gpu-')}")  # that of a GPU worker differs in the target only
    command = ["make", "--file", f"{PROJECT}/Makefile", f"VENV={sys.prefix}", "--old-file", f"{sys.prefix}/.ready"]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*command, target], cwd=checkout.folder, env=checkout.env, stdout=output, stderr=output
        ) as process,
    ):
        members = [process.pid]
        try:
            yield process
            members = family(process.pid)
            if "ExecStop" in settings:
                stop = [part.replace("$$", "$") for part in shlex.split(settings["ExecStop"].removeprefix("-"))]
                env = {**os.environ, "MAINPID": str(process.pid)}
                subprocess.run(stop, check=True, env=env, timeout=float(settings["TimeoutStopSec"]))
            for member in members if settings.get("KillMode") != "mixed" else members[:1]:
                with suppress(ProcessLookupError):
                    os.kill(member, signal.SIGTERM)
            process.wait(90)
        finally:
            for member in members:
                with suppress(ProcessLookupError):
                    os.kill(member, signal.SIGKILL)


@pytest.mark.drill
def test_a_worker_whose_unit_is_stopped_lets_its_training_save_a_checkpoint(server: Checkout, tmp_path) -> None:
    log, folder = tmp_path / "log", tmp_path / "artifacts"
    settings = {"steps": 100_000, "num_samples": 100, "dataset": "mine", "data_dir": "mine", "train_on": "here"}
    with running_under_systemd(server, "worker", log):
        run = start_nightly(server, **settings, checkpoint_seconds=3600, output_dir=str(folder))
        assert wait_until_it_trains(server, "fashion-gan") == run
        assert not checkpoints_in(folder)
    assert len(checkpoints_in(folder)) == 1
    assert ask(server, f"flow_runs/{run}")["state_type"] == "CRASHED"
    assert_it_stopped_in_order(log)


def assert_it_stopped_in_order(log: Path) -> None:
    """Check what a worker says at its end."""
    assert re.findall("Worker .* stopped!", log.read_text())
    assert "Killed" not in log.read_text()


@pytest.mark.drill
def test_a_gpu_worker_whose_unit_is_stopped_lets_its_training_save_a_checkpoint(server: Checkout, tmp_path) -> None:
    log, folder = tmp_path / "log", tmp_path / "artifacts"
    waiting = replace(server, options=SELDOM)
    with waiting.started("flows/train_flow.py", *LONG, "--train-on", "gpu", "--output-dir", folder) as process:
        with running_under_systemd(server, "gpu-worker", log):
            run = wait_until_it_trains(server, "train-gan", process)
            assert not checkpoints_in(folder)
        assert len(checkpoints_in(folder)) == 1
        assert ask(server, f"flow_runs/{run}")["state_type"] == "CRASHED"
        process.send_signal(signal.SIGTERM)  # it would hand its training over again, and cancels it
        process.communicate(timeout=180)
    assert_it_stopped_in_order(log)


@pytest.mark.drill
def test_a_server_whose_unit_is_stopped_ends_in_order(tmp_path) -> None:
    checkout = Checkout.make(tmp_path / "project", tmp_path / "prefect")
    port = free_port()
    checkout.env |= {"PREFECT_SERVER_API_PORT": str(port), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    with running_under_systemd(checkout, "server", tmp_path / "log"):
        checkout.run("-c", WAIT_FOR_SERVER)
    log = (tmp_path / "log").read_text()
    assert "Terminated" in log, "the server has received the signal to end"
    assert "Killed" not in log


def test_trainings_on_a_worker_and_in_process_share_cached_results(server: Checkout, gpu_worker) -> None:
    output = server.run("flows/train_flow.py", *FEW, "--train-on", "gpu")
    assert "train" in ran(states(output))
    (address,) = re.findall(r"Handed over to .*: (http\S+)", output)
    child, parent = newest(server, "train-gan"), newest(server, "fashion-gan")
    assert child["state_type"] == "COMPLETED"
    assert child["id"] in address
    assert not ran(server.train(*FEW))

    (link,) = artifacts_of(server, parent["id"], "training")
    assert address in link["data"]
    logs = ask(server, "logs/filter", {"logs": {"flow_run_id": {"any_": [child["id"]]}}})
    assert any("TensorFlow sees no GPU on this worker" in line["message"] for line in logs)
    live = [artifacts_of(server, run["id"], "training-progress") for run in (child, parent)]
    assert [len(found) for found in live] == [1, 1], "the run that waits shows the training too"
    assert "On the GPU worker: step " in output

    before = len(runs_of(server, "train-gan"))
    assert not ran(server.train(*FEW, "--train-on", "gpu"))
    assert len(runs_of(server, "train-gan")) == before, "what is cached is not handed over"


@pytest.mark.drill
def test_a_required_gpu_is_that_of_the_worker_and_its_absence_fails_the_run(server: Checkout, gpu_worker) -> None:
    with server.started("flows/train_flow.py", *FEW, "--seed", 2, "--train-on", "gpu", "--device", "gpu") as process:
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert 'Error: The training on the GPU worker, run "article, 6 steps, seed 2", is Failed' in output
    assert "--device gpu was asked for, but TensorFlow" in output


@pytest.mark.drill
def test_a_paused_pool_or_queue_is_waited_for_no_longer_than_for_a_worker(server: Checkout, gpu_worker) -> None:
    options = (*FEW, "--seed", 3, "--train-on", "gpu", "--worker-timeout", 3)
    with temporary_settings({PREFECT_API_URL: server.env["PREFECT_API_URL"]}), get_client(sync_client=True) as client:
        client.update_work_pool("gpu", WorkPoolUpdate(is_paused=True))
        try:
            with server.started("flows/train_flow.py", *options) as process:
                output, _ = process.communicate(timeout=300)
        finally:
            client.update_work_pool("gpu", WorkPoolUpdate(is_paused=False))
        queue = client.read_work_queue_by_name("default", "gpu").id
        waiting = FlowRun(flow_id=uuid4(), state=Scheduled(), work_queue_name="default")
        assert _advice_if_stuck(client, waiting) is None, "a worker is online"
        client.update_work_queue(queue, is_paused=True)
        try:
            advice = not_none(_advice_if_stuck(client, waiting))
        finally:
            client.update_work_queue(queue, is_paused=False)
    assert process.returncode == 1
    assert "Error: The training was not started on the work pool gpu within 3 s." in output
    assert re.search("The work pool gpu is paused: resume it", output)
    assert re.search("The work queue default .*is paused: resume it", advice)


@pytest.mark.parametrize(
    "how",
    [
        "from the UI",
        pytest.param("its training from the UI", marks=pytest.mark.drill),
        pytest.param("with SIGTERM", marks=pytest.mark.drill),
    ],
)
def test_cancelling_a_run_cancels_its_training_which_saves_a_checkpoint(
    server: Checkout, gpu_worker, tmp_path, how: str
) -> None:
    waiting = replace(server, options=SELDOM)
    with waiting.started("flows/train_flow.py", *LONG, "--train-on", "gpu", "--output-dir", tmp_path) as process:
        child = wait_until_it_trains(server, "train-gan", process)
        assert not checkpoints_in(tmp_path)
        if how == "from the UI":
            parent = newest(server, "fashion-gan")["id"]
            ask(server, f"flow_runs/{parent}/set_state", {"state": {"type": "CANCELLING"}})
        elif how == "its training from the UI":
            ask(server, f"flow_runs/{child}/set_state", {"state": {"type": "CANCELLING"}})
        else:
            process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=180)
    assert process.returncode != 0
    wait_until(lambda: ask(server, f"flow_runs/{child}")["state_type"] == "CANCELLED", 60)  # for a moment it is Crashed
    assert len(checkpoints_in(tmp_path)) == 1
    assert newest(server, "train-gan")["id"] == child, "it was not started again"
    if how == "its training from the UI":
        assert re.search("The training on the GPU worker, run .* was cancelled", " ".join(output.split()))
    if how == "from the UI":
        assert ask(server, f"flow_runs/{parent}")["state_type"] in {"CANCELLING", "CANCELLED"}, output


def test_a_nightly_run_goes_through_both_workers_into_the_projects_own_folder(
    server: Checkout, gpu_worker, worker
) -> None:
    settings: dict[str, object] = {"steps": 6, "sample_every": 3, "batch_size": 16, "num_samples": 100}
    settings |= {"dataset": "mine", "data_dir": "mine", "set": SMALL[1::2]}
    settings |= {"seed": "date"}
    days = {datetime.now(ZoneInfo("Europe/Berlin"))}  # the time zone of the deployment's schedule
    ids = [start_nightly(server, **settings, run_name=name) for name in ("tonight", "next")]
    days.add(datetime.now(ZoneInfo("Europe/Berlin")))
    wait_until(lambda: all(ask(server, f"flow_runs/{run_id}")["state_type"] in FINAL for run_id in ids), 600)
    first, last = sorted((ask(server, f"flow_runs/{run_id}") for run_id in ids), key=lambda run: run["start_time"])
    for run in (first, last):
        assert run["state_type"] == "COMPLETED", run["state"]
    assert first["end_time"] <= last["start_time"], "one at a time"
    assert newest(server, "train-gan")["name"] in {f"article, 6 steps, seed {day:%Y%m%d}" for day in days}
    assert (server.folder / "artifacts" / "latest").resolve().name == last["parameters"]["settings"]["run_name"]
