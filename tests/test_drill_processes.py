"""Drills on one machine: killed processes and full disks. `make drills` runs them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from faults import assert_nothing_is_half_written, assert_the_next_run_ends_well, command, same_bytes, started, stopped
from pipeline import STAGES_OF_OWN_DATA, ran, states

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
    "measure_floor file",
    "separate file",
    "compare file",
    "compare record",
    "publish manifest",
    "publish folder",
)


def test_a_run_killed_in_any_stage_leaves_no_process_and_the_next_one_goes_on(
    checkout, data, uninterrupted, tmp_path
) -> None:
    """Repeat the command: each run resumes the killed one before it and gets further; the last one ends well."""
    folder = tmp_path / "artifacts"
    outputs = {}
    for moment in MOMENTS:
        with stopped(checkout, moment, command(data, folder)) as run:
            assert any("uvicorn" in line for line in run.alive().values()), "its embedded server"
            outputs[moment] = run.kill()
            run.assert_nothing_is_left()
        assert not (folder / "latest").exists()
    assert list(folder.glob("store/.partial/*")), "some were killed while they wrote a file"
    assert "Resuming from the checkpoint" not in outputs["train checkpoint"]
    assert "Resuming from the checkpoint after" in outputs["train file"]
    output = assert_the_next_run_ends_well(checkout, data, folder, uninterrupted)
    assert ran(states(output)) == {"publish"}, "finished stages are cached"


@pytest.mark.parametrize("moment", ["publish manifest", "publish swap"])
@pytest.mark.parametrize("pruning", [False, True])
def test_a_run_killed_while_it_replaces_an_earlier_one_ends_well_next_time(
    checkout, data, finished, uninterrupted, tmp_path, moment, pruning
) -> None:
    """Also if pruning comes first, and removes files of any age."""
    folder = shutil.copytree(finished, tmp_path / "artifacts", symlinks=True)
    (folder / "runs" / "same" / "final_grid.png").write_bytes(b"altered")
    with stopped(checkout, moment, command(data, folder)) as run:
        run.kill()
        run.assert_nothing_is_left()
    assert (folder / "latest").exists() == (moment == "publish manifest")
    if pruning:
        checkout.run("flows/prune_flow.py", "--output-dir", folder, "--older-than", 0)
        assert (folder / "latest" / "manifest.json").is_file()
    output = assert_the_next_run_ends_well(checkout, data, folder, uninterrupted)
    assert ran(states(output)) == {"publish"}


def test_two_first_commands_at_once_each_with_an_embedded_server_end_well(
    checkout, data, uninterrupted, tmp_path
) -> None:
    """Both servers create the same new database."""
    folder, home = tmp_path / "artifacts", tmp_path / "prefect"
    new = replace(checkout, env={**checkout.env, "PREFECT_HOME": str(home)})
    with started(new, *command(data, folder)) as one, started(new, *command(data, folder)) as two:
        ends = [run.end() for run in (one, two)]
        for code, output in ends:
            assert code == 0, output
            assert "Traceback" not in output
        for run in (one, two):
            run.assert_nothing_is_left()
    ways = [states(output) for _, output in ends]
    for stage in STAGES_OF_OWN_DATA:
        assert sorted(way[stage] for way in ways) == ["Cached", "Completed"], stage
    assert same_bytes(folder) == uninterrupted


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """Mount a file system of 200 MB."""
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


def test_a_full_disk_under_the_servers_database_is_one_clear_error(
    checkout, data, uninterrupted, small_disk, tmp_path
) -> None:
    folder, full = tmp_path / "artifacts", replace(checkout, env={**checkout.env, "PREFECT_HOME": str(small_disk)})
    ballast = fill(small_disk)
    with started(full, *command(data, folder)) as run:
        code, output = run.end()
        run.assert_nothing_is_left()
    assert code == 1, output
    assert "Error: The embedded Prefect server does not start: " in output
    assert "Traceback" not in output
    ballast.unlink()
    assert_the_next_run_ends_well(full, data, folder, uninterrupted)


def fill(disk: Path) -> Path:
    """Fill a file system; return the file that fills it."""
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
    checkout, data, uninterrupted, small_disk
) -> None:
    """Repeat the command: each run starts with free space, and the disk is full at a later moment than before."""
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
    output = assert_the_next_run_ends_well(checkout, data, folder, uninterrupted)
    assert ran(states(output)) == {"publish"}, "finished stages are cached"
