"""Drills with a real server and real workers: what is killed, locked or cancelled, the run or the next one ends well."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from builders import write_own_data
from pipeline import (
    GPU_WORKER,
    WORKER,
    Checkout,
    ask,
    newest,
    ran,
    running,
    running_postgresql,
    running_server,
    runs_of,
    states,
    wait_until,
)
from s3_server import BUCKET, S3Server

from gan.store import sha256_of

pytestmark = [pytest.mark.drill, pytest.mark.timeout(1200)]

SAME_BYTES = ("generator.keras", "generator_average.keras", "history.csv", "samples.npz", "training.webp")
FEW = ("--sample-every", 500, "--batch-size", 16, "--num-samples", 100, "--dataset", "mine", "--data-dir", "mine")
COMMAND = ("flows/train_flow.py", *FEW, "--steps", 2000, "--run-name", "drill")


def make_checkout(folder: Path) -> Checkout:
    checkout = Checkout.make(folder / "project", folder / "prefect")
    checkout.save_all_the_time()
    checkout.edit("gan/classifier.py", "EPOCHS, MIN_STEPS = 12, 300", "EPOCHS, MIN_STEPS = 2, 12")
    write_own_data(checkout.folder / "mine")
    return checkout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    checkout = make_checkout(tmp_path_factory.mktemp("drills"))
    with running_server(checkout):
        checkout.run("flows/setup_server.py")
        yield checkout


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run on this machine publishes that nobody touched, by its SHA-256."""
    folder = tmp_path_factory.mktemp("undisturbed")
    make_checkout(folder).run(*COMMAND, "--output-dir", folder / "artifacts")
    return published(folder / "artifacts")


def published(folder: Path) -> dict[str, str]:
    return {name: sha256_of(folder / "latest" / name) for name in SAME_BYTES}


def finish(process: subprocess.Popen[str], seconds: float = 600) -> str:
    """What a command prints that ends well."""
    output, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, output
    return output


def wait_for_training(folder: Path, process: subprocess.Popen[str]) -> None:
    """Until a checkpoint is there: the training goes on."""
    wait_until(lambda: list(folder.glob("scratch/*/*/*.npz")) or process.poll() is not None)
    assert process.poll() is None, process.stdout.read()


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in family(int(child)))]


def test_two_equal_commands_at_once_have_one_training_on_the_worker(server, undisturbed, tmp_path) -> None:
    command = (*COMMAND, "--output-dir", tmp_path, "--train-on", "gpu")
    before = len(runs_of(server, "train-gan"))
    with running(server, *GPU_WORKER), server.started(*command) as one, server.started(*command) as two:
        outputs = [finish(one), finish(two)]
    assert all("train" in states(output) for output in outputs)
    children = runs_of(server, "train-gan")[before:]
    assert {child["state_type"] for child in children} == {"COMPLETED"}
    trained = [run for run in task_runs(server, children) if run["state_name"] == "Completed"]
    assert len(trained) == 1, "the other one finds its result"
    assert published(tmp_path) == undisturbed


def task_runs(server: Checkout, flow_runs: list[dict]) -> list[dict]:
    ids = [run["id"] for run in flow_runs]
    return ask(server, "task_runs/filter", {"flow_runs": {"id": {"any_": ids}}})


@pytest.fixture
def s3() -> Iterator[S3Server]:
    server = S3Server()
    server.start()
    yield server
    server.stop()


def another_machine(folder: Path) -> tuple[str, ...]:
    """What starts a command that has a folder of its own at this path, as on another machine."""
    namespace = ["unshare", "--map-root-user", "--mount"] if os.getuid() else ["unshare", "--mount"]
    if subprocess.run([*namespace, "true"], check=False).returncode:
        pytest.skip("no mount namespaces here: one machine cannot stand for two")
    return (*namespace, "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder))


def test_a_worker_on_a_machine_that_shares_no_folder_finds_all_in_the_object_store(
    server, undisturbed, s3, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(server, "env", server.env | s3.env)
    here = tmp_path / "artifacts"
    here.mkdir()
    options = ("--output-dir", here, "--store-url", f"s3://{BUCKET}/drill", "--train-on", "gpu")
    with running(server, *GPU_WORKER, before=another_machine(here)):
        assert "train" in ran(states(server.run(*COMMAND, *options)))
        assert published(here) == undisturbed
        shutil.rmtree(here / "store")
        shutil.rmtree(here / ".results")
        assert "train" in ran(states(server.run(*COMMAND, *options, "--seed", 1)))
    assert newest(server, "train-gan")["state_type"] == "COMPLETED"
