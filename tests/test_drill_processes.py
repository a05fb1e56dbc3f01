"""Drills on one machine: killed processes and full disks. `make drills` runs them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import write_own_data
from faults import assert_nothing_is_half_written, same_bytes, started, stopped
from pipeline import STAGES_OF_OWN_DATA, Checkout, ran, states

pytestmark = pytest.mark.drill

MEGABYTE = 1 << 20
MOMENTS = (
    "fetch file",
    "normalize file",
    "fit_extractor file",
    "train checkpoint",
    "train file",
    "train record",
    "render file",
    "compare file",
    "compare record",
    "publish manifest",
    "publish folder",
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Checkout:
    folder = tmp_path_factory.mktemp("checkout")
    checkout = Checkout.make(folder / "project", folder / "prefect")
    checkout.save_all_the_time()
    checkout.edit("gan/classifier.py", "EPOCHS, MIN_STEPS = 12, 300", "EPOCHS, MIN_STEPS = 2, 12")
    return checkout


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_own_data(tmp_path_factory.mktemp("data") / "own")


def command(data: Path, folder: Path) -> tuple[object, ...]:
    few = ("--steps", 100, "--sample-every", 50, "--batch-size", 16, "--num-samples", 100, "--device", "cpu")
    where = ("--dataset", "own", "--data-dir", data, "--output-dir", folder)
    return ("flows/train_flow.py", *few, *where, "--run-name", "same")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, checkout, data) -> Path:
    """The output folder of a run that nothing happened to; who changes something takes a copy."""
    folder = tmp_path_factory.mktemp("finished") / "artifacts"
    with started(checkout, *command(data, folder)) as run:
        code, output = run.end()
        assert code == 0, output
        assert ran(states(output)) == set(STAGES_OF_OWN_DATA)
        run.assert_nothing_is_left()
    return folder


@pytest.fixture(scope="module")
def undisturbed(finished) -> dict[str, str]:
    """What that run has published."""
    return same_bytes(finished)


def assert_the_next_run_ends_well(checkout: Checkout, data: Path, folder: Path, undisturbed: dict[str, str]) -> str:
    """The same command again; what it printed."""
    with started(checkout, *command(data, folder)) as run:
        code, output = run.end()
        assert code == 0, output
        run.assert_nothing_is_left()
    assert same_bytes(folder) == undisturbed
    assert not list(folder.glob("scratch/*"))
    return output


def test_a_run_killed_in_any_stage_leaves_no_process_and_the_next_one_goes_on(
    checkout, data, undisturbed, tmp_path
) -> None:
    """Each killed run is the next one of the command after the one before, and gets further; the last ends well."""
    folder = tmp_path / "artifacts"
    outputs = {}
    for moment in MOMENTS:
        with stopped(checkout, moment, command(data, folder)) as run:
            assert any("uvicorn" in line for line in run.alive().values()), "its embedded server"
            outputs[moment] = run.kill()
            run.assert_nothing_is_left()
        assert not (folder / "latest").exists()
    assert list(folder.glob("store/.partial/*")), "they were in the middle of something"
    assert "Going on from the checkpoint" not in outputs["train checkpoint"]
    assert "Going on from the checkpoint after" in outputs["train file"]
    output = assert_the_next_run_ends_well(checkout, data, folder, undisturbed)
    assert ran(states(output)) == {"publish"}, "what was finished is not done again"


def test_a_run_killed_while_it_replaces_an_earlier_one_ends_well_next_time(
    checkout, data, finished, undisturbed, tmp_path
) -> None:
    folder = shutil.copytree(finished, tmp_path / "artifacts", symlinks=True)
    (folder / "runs" / "same" / "final_grid.png").write_bytes(b"altered")
    with stopped(checkout, "publish manifest", command(data, folder)) as run:
        run.kill()
        run.assert_nothing_is_left()
    output = assert_the_next_run_ends_well(checkout, data, folder, undisturbed)
    assert ran(states(output)) == {"publish"}


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A drive of its own that is soon full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small tmpfs")
    mounting = ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(folder)]
    done = subprocess.run(mounting, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room that is left; the file that does."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (MEGABYTE, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return ballast


FULL = (
    ("normalize file", "The stage normalize could not write below"),
    ("train checkpoint", "The stage train could not write below"),
    ("train file", "The stage train could not write below"),
    ("compare record", "The stage compare could not write below"),
    ("publish manifest", "The run same could not be published"),
    ("publish record", "The stage publish could not write below"),
)


def test_a_full_disk_is_one_clear_error_each_time_and_the_run_ends_well_when_there_is_room(
    checkout, data, undisturbed, small_disk
) -> None:
    """While storing, while checkpointing, while publishing: each run finds room again, and fills the disk later."""
    folder = small_disk / "artifacts"
    for moment, said in FULL:
        with stopped(checkout, moment, command(data, folder)) as run:
            ballast = fill(small_disk)
            run.go_on()
            code, output = run.end()
            run.assert_nothing_is_left()
        assert code == 1, output
        assert output.count(said) == 1, output
        assert "No space left on device" in output
        assert "run the same command again" in " ".join(output.split())
        assert "Traceback" not in output
        assert_nothing_is_half_written(folder)
        assert not (folder / "latest").exists()
        ballast.unlink()
    output = assert_the_next_run_ends_well(checkout, data, folder, undisturbed)
    assert ran(states(output)) == {"publish"}, "what was finished is not done again"
