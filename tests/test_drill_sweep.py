"""Drills of sweeps: a killed sweep, a killed training, two equal sweeps, a Ray cluster that loses a node."""

import csv
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from faults import started
from pipeline import SELDOM, Checkout, checkpoints_in, finish, free_port, wait_for_checkpoint, wait_until
from servers import ask, newest, wait_until_it_trains

pytestmark = [pytest.mark.drill, pytest.mark.timeout(1200)]

SEEDS = (0, 1, 2)
OPTIONS: tuple[object, ...] = ("--recipes", "article", "--seeds", "0-2")
OPTIONS += ("--batch-size", 16, "--num-samples", 100, "--device", "cpu", "--dataset", "own")


def command(data: Path, folder: Path, steps: int = 400) -> tuple[object, ...]:
    length = ("--steps", steps, "--sample-every", steps)
    return ("flows/sweep_flow.py", *OPTIONS, *length, "--data-dir", data, "--output-dir", folder)


def generators(folder: Path) -> dict[str, bytes]:
    """Return the generator files of the published runs by run name."""
    return {path.parent.name: path.read_bytes() for path in folder.glob("runs/*/generator.keras")}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, quick_checkout, data) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("uninterrupted") / "artifacts"
    quick_checkout.run(*command(data, folder))
    assert len(generators(folder)) == len(SEEDS)
    return generators(folder)


def assert_whole(folder: Path, uninterrupted: dict[str, bytes]) -> None:
    assert generators(folder) == uninterrupted
    (board,) = folder.glob("sweeps/*/leaderboard.csv")
    (row,) = csv.DictReader(board.read_text().splitlines())
    assert row["seeds"] == "0 1 2"
    assert not list(folder.glob("scratch/*"))


def test_a_sweep_that_is_killed_leaves_no_process_and_goes_on(quick_checkout, data, uninterrupted, tmp_path) -> None:
    with started(quick_checkout, *command(data, tmp_path)) as run:
        wait_until(lambda: len(generators(tmp_path)) == 1, process=run.process)
        wait_for_checkpoint(tmp_path, process=run.process)
        run.process.kill()
        run.assert_nothing_is_left(seconds=60)
    before = (tmp_path / "runs" / next(iter(generators(tmp_path))) / "manifest.json").read_bytes()
    output = finish_of(quick_checkout, data, tmp_path)
    assert "Resuming from the checkpoint" in output
    assert_whole(tmp_path, uninterrupted)
    assert before in {path.read_bytes() for path in tmp_path.glob("runs/*/manifest.json")}, (
        "a finished run is not published again"
    )


def finish_of(quick_checkout: Checkout, data: Path, folder: Path) -> str:
    with quick_checkout.started(*command(data, folder)) as process:
        return finish(process)


def test_the_process_of_a_sweep_that_is_killed_saves_a_checkpoint(quick_checkout, data, tmp_path) -> None:
    with started(replace(quick_checkout, options=SELDOM), *command(data, tmp_path, steps=100_000)) as run:
        wait_until_it_trains(quick_checkout, "fashion-gan", run.process)
        assert not checkpoints_in(tmp_path)
        run.process.kill()
        run.assert_nothing_is_left(seconds=60)
    assert len(checkpoints_in(tmp_path)) == 1


def test_a_cancelled_sweep_ends_with_its_training_and_both_are_shown_as_cancelled(
    quick_checkout, data, tmp_path
) -> None:
    with started(replace(quick_checkout, options=SELDOM), *command(data, tmp_path, steps=100_000)) as run:
        training = wait_until_it_trains(quick_checkout, "fashion-gan", run.process)
        sweep = newest(quick_checkout, "sweep")["id"]
        ask(quick_checkout, f"flow_runs/{sweep}/set_state", {"state": {"type": "CANCELLING"}})
        code, output = run.end()
        run.assert_nothing_is_left()
    assert code == 1, output
    assert "Error: The run was cancelled" in output
    assert len(checkpoints_in(tmp_path)) == 1
    for run_id in (sweep, training):
        assert ask(quick_checkout, f"flow_runs/{run_id}")["state_type"] == "CANCELLED"


def test_a_training_whose_process_is_killed_does_not_sink_the_rest(
    quick_checkout, data, uninterrupted, tmp_path
) -> None:
    with started(quick_checkout, *command(data, tmp_path)) as run:
        wait_for_checkpoint(tmp_path, process=run.process)
        (child,) = (pid for pid, line in run.alive().items() if "spawn_main" in line)
        os.kill(child, signal.SIGKILL)
        code, output = run.end()
        assert code == 0, output
        run.assert_nothing_is_left()
    assert_whole(tmp_path, uninterrupted)


def test_two_equal_sweeps_at_once_train_nothing_twice(quick_checkout, data, uninterrupted, tmp_path) -> None:
    with (
        quick_checkout.started(*command(data, tmp_path)) as one,
        quick_checkout.started(*command(data, tmp_path)) as two,
    ):
        outputs = [finish(one), finish(two)]
    for seed in SEEDS:
        line = f"'train article, 400 steps, seed {seed}' - Completed"
        assert sum(output.count(line) for output in outputs) == 1
    assert_whole(tmp_path, uninterrupted)


@contextmanager
def ray_node(env: dict[str, str], *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a Ray node with two cores, and kill it at the end of the block."""
    program = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus", "2"]
    with subprocess.Popen(
        [*program, "--disable-usage-stats", *options],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as node:
        try:
            yield node
        finally:
            os.killpg(node.pid, signal.SIGKILL)


NEEDS_RAY = pytest.mark.skipif(importlib.util.find_spec("prefect_ray") is None, reason="no Ray here (make setup-ray)")
QUIET_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": "/tmp"}


@NEEDS_RAY
def test_a_sweep_on_a_ray_of_this_machines_own_needs_no_server(checkout, data, uninterrupted, tmp_path) -> None:
    replace(checkout, env=checkout.env | QUIET_RAY).run(*command(data, tmp_path), "--ray", "local")
    assert_whole(tmp_path, uninterrupted)


@NEEDS_RAY
def test_a_sweep_on_a_ray_cluster_that_loses_a_node_ends_well(quick_checkout, data, uninterrupted, tmp_path) -> None:
    (tmp_path / "token").write_text("a secret of this cluster alone")
    env = quick_checkout.env | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    env |= QUIET_RAY
    port = free_port()
    address = f"127.0.0.1:{port}"
    folder, sweeping = tmp_path / "artifacts", replace(quick_checkout, env=env)
    head = ("--head", "--port", str(port), "--include-dashboard", "false", "--node-ip-address", "127.0.0.1")
    with ExitStack() as stack:
        stack.enter_context(ray_node(env, *head))
        wait_until(lambda: answers(address), seconds=120)
        on_gpus = ("flows/sweep_flow.py", "--recipes", "article", "--seeds", "0", "--device", "gpu", "--ray", address)
        with sweeping.started(*on_gpus, "--output-dir", tmp_path / "none") as refused:
            output, _ = refused.communicate(timeout=300)
        assert refused.returncode == 1
        assert "none of the cluster's 1 nodes has 1 GPU and 1 CPU, which a training needs" in output
        second = stack.enter_context(ray_node(env, "--address", address))
        process = stack.enter_context(sweeping.started(*command(data, folder), "--ray", address))
        wait_until(
            lambda: len(at_work(folder)) == 2, seconds=600, process=process
        )  # each node has cores for one training
        os.killpg(second.pid, signal.SIGKILL)
        finish(process)
    assert_whole(folder, uninterrupted)
    facts = [json.loads(path.read_text())["training"] for path in folder.glob("runs/*/metrics.json")]
    assert any(fact["resumed_at_step"] > 0 for fact in facts), (
        "the training of the lost node resumed from its checkpoint"
    )


def at_work(folder: Path) -> set[str]:
    """Return the unfinished trainings that have a checkpoint."""
    return {path.relative_to(folder).parts[1] for path in folder.glob("scratch/*/*/*.npz")}


def answers(address: str) -> bool:
    """Return whether a server accepts connections at this address."""
    host, _, port = address.partition(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0
