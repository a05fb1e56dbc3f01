"""Real runs at the same moment: two equal ones, and house-keeping beside one."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from faults import same_bytes
from pipeline import SMALL, STAGES_OF_OWN_DATA, checkpoints_in, finish, ran, read_until, states, wait_for_checkpoint

pytestmark = pytest.mark.drill

WAITING = "Another run is at the same stage"
STEPS = 3500  # of small networks: seconds in which a training can be killed


def command(data: Path, folder: Path, *, name: str = "same", seed: int = 0) -> tuple[object, ...]:
    few = (
        *SMALL,
        "--steps",
        STEPS,
        "--sample-every",
        STEPS,
        "--batch-size",
        16,
        "--num-samples",
        100,
        "--device",
        "cpu",
    )
    where = ("--dataset", "own", "--data-dir", data, "--output-dir", folder)
    return ("flows/train_flow.py", *few, *where, "--run-name", name, "--seed", seed)


@pytest.fixture(scope="module")
def together(tmp_path_factory, quick_checkout, data) -> tuple[Path, list[str]]:
    """Start two equal runs together; return their output folder and their outputs."""
    folder = tmp_path_factory.mktemp("together") / "artifacts"
    both = [quick_checkout.start(*command(data, folder)) for _ in range(2)]
    return folder, [finish(process) for process in both]


@pytest.fixture
def uninterrupted(together) -> Path:
    """Return the output folder of runs that nothing interrupted."""
    folder, _ = together
    return folder


def test_of_two_equal_runs_started_together_one_does_the_work(together) -> None:
    """The next test compares the bytes that they publish with those of an interrupted run."""
    folder, outputs = together
    ways = [states(output) for output in outputs]
    for stage in STAGES_OF_OWN_DATA:
        assert sorted(way[stage] for way in ways) == ["Cached", "Completed"], stage
    assert any(WAITING in output for output in outputs)
    assert not list(folder.glob("scratch/*"))
    assert not list(folder.glob("store/.partial/*"))
    assert not list(folder.glob(".in-use/run-*"))


def test_when_the_one_that_trains_is_killed_the_one_that_waits_goes_on(
    quick_checkout, data, uninterrupted, tmp_path
) -> None:
    folder = tmp_path / "artifacts"
    with quick_checkout.started(*command(data, folder)) as first:
        wait_for_checkpoint(folder, first)
        first.send_signal(signal.SIGSTOP)  # so that the second finds it at work, however slow the machine is
        second = quick_checkout.start(*command(data, folder))
        seen = read_until(second, WAITING)
        first.kill()
    output = seen + finish(second)
    assert "Resuming from the checkpoint after" in output
    assert states(output)["train"] == "Completed"
    assert same_bytes(folder, "same") == same_bytes(uninterrupted, "same")
    assert not list(folder.glob("scratch/*"))


def test_pruning_beside_a_run_takes_nothing_that_it_needs(quick_checkout, data, uninterrupted, tmp_path) -> None:
    folder = shutil.copytree(uninterrupted, tmp_path / "artifacts", symlinks=True)
    other = command(data, folder, name="other", seed=1)
    shutil.rmtree(folder / "runs")
    for path in (*folder.glob("store/*/*"), *folder.glob(".results/*")):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    generators = set(folder.glob("store/*/*.keras"))
    before = len(list(folder.glob("store/*/*")))
    with quick_checkout.started(*other) as process:
        wait_for_checkpoint(folder, process)
        process.send_signal(signal.SIGSTOP)  # the training must not be over before the pruning, however fast it is
        printed = quick_checkout.run("flows/prune_flow.py", "--output-dir", folder, "--older-than", 0)
        assert checkpoints_in(folder), "the run was over too soon to mean anything"
        process.send_signal(signal.SIGCONT)
        assert "result records" in printed
        assert "checkpoints" not in printed
        assert len([path for path in generators if path.exists()]) == 1, (
            "the extractor that the run uses, not the generators"
        )
        assert len(list(folder.glob("store/*/*"))) < before
        # the floor's result was needed by no published run, and this run had not used it yet
        assert ran(states(finish(process))) == {"train", "render", "floor", "separate", "compare", "publish"}
    assert ran(states(quick_checkout.run(*other))) == set(), "all results are still there"


def test_a_killed_run_leaves_what_pruning_finds(quick_checkout, data, uninterrupted, tmp_path) -> None:
    folder = shutil.copytree(uninterrupted, tmp_path / "artifacts", symlinks=True)
    with quick_checkout.start(*command(data, folder, name="killed", seed=2)) as process:
        wait_for_checkpoint(folder, process)
        process.kill()
    assert "Nothing to prune" in quick_checkout.run("flows/prune_flow.py", "--output-dir", folder)
    printed = quick_checkout.run("flows/prune_flow.py", "--output-dir", folder, "--older-than", 0)
    assert "checkpoints of runs that were not finished" in printed
    assert not list(folder.glob("scratch/*"))
    assert not list(folder.glob(".in-use/run-*"))
    assert ran(states(quick_checkout.run(*command(data, folder)))) == set(), (
        "the published run's results are still there"
    )
