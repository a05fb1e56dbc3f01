"""The main job on the real data set, as a user runs it: few steps, every stage, a real Prefect server."""

import contextlib
import json
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pipeline import QUICK, STAGES, Checkout, ran, wait_for_checkpoint

from gan.storage.files import sha256_of

pytestmark = pytest.mark.real_data

FEW = ("--steps", 6, "--sample-every", 3, "--batch-size", 16, "--num-samples", 100, "--run-name", "few")


@pytest.fixture(scope="module")
def prefect_home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture
def checkout(tmp_path, prefect_home) -> Checkout:
    return Checkout.make(tmp_path / "project", prefect_home)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, prefect_home, real_data_dir) -> Path:
    """The output folder of a finished run; tests take copies."""
    folder = tmp_path_factory.mktemp("finished")
    first = Checkout.make(folder / "project", prefect_home)
    found = first.train(*FEW, "--data-dir", real_data_dir, "--output-dir", folder / "artifacts")
    assert ran(found) == set(STAGES)
    return folder / "artifacts"


@pytest.fixture
def artifacts(finished, tmp_path) -> Path:
    return shutil.copytree(finished, tmp_path / "artifacts", symlinks=True)


def test_a_run_publishes_everything_that_its_manifest_lists(artifacts) -> None:
    run = artifacts / "latest"
    manifest = json.loads((run / "manifest.json").read_text())
    listed = {file["path"] for file in manifest["files"]}
    assert listed >= {
        "config.json",
        "metrics.json",
        "history.csv",
        "report.html",
        "report.md",
        "generator.keras",
        "generator_average.keras",
        "extractor.keras",
        "real_above_generated.png",
        "class_rows.png",
        "neighbours.png",
        "quality.png",
        "curves.png",
        "samples.npz",
        "samples_average.npz",
        "final_grid.png",
        "samples_grid.png",
        "real_examples.png",
        "interpolation.png",
        "training.webp",
        "grids/step-000000.png",
        "grids/step-000003.png",
        "grids/step-000005.png",
    }
    assert listed | {"manifest.json"} == {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    for file in manifest["files"]:
        assert sha256_of(run / file["path"]) == file["sha256"]
    assert manifest["libraries"]["tensorflow"]
    samples = np.load(run / "samples.npz")["images"]
    assert (samples.shape, samples.dtype) == ((100, 28, 28), np.uint8)
    with Image.open(run / "training.webp") as animation:
        assert animation.n_frames == 3
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["timings_seconds"]) == set(STAGES)
    assert metrics["metrics"]["frechet_distance"]["n"] == 100
    rows = [row.split(",") for row in (run / "history.csv").read_text().splitlines()]
    assert rows[0] == ["step", "d_loss", "d_accuracy", "g_loss", "frechet_distance", "recall"]
    assert [row[0] for row in rows[1:] if row[4]] == ["0", "3", "5"], "judged at every snapshot"
    assert len(rows) == 1 + 6
    assert metrics["extractor_sha256"] == sha256_of(run / "extractor.keras")
    assert all(row["n"] == 100 and row["extractor"] and row["floor"] is not None for row in metrics["metrics"].values())


def test_the_same_command_again_is_all_cached_and_never_imports_tensorflow(checkout, artifacts) -> None:
    command = ["flows/train_flow.py", *map(str, FEW), "--output-dir", str(artifacts)]
    code = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print('imported:', 'tensorflow' in sys.modules or 'keras' in sys.modules))\n"
        f"sys.argv = {command!r}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    output = checkout.run("-c", code)
    assert output.count("Finished in state Cached") == len(STAGES)
    assert "imported: False" in output
    assert "Warning" not in output
    assert "Traceback" not in output
    assert str(artifacts / "runs" / "few" / "report.html") in output


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("gan/report/page.py", {"compare"}),
        ("gan/report/page.html.jinja", {"compare"}),
        ("gan/formatting.py", {"compare", "publish"}),
    ],
)
def test_an_edit_runs_just_the_stages_that_reach_it(checkout, artifacts, module, expected) -> None:
    path = checkout.folder / module
    edit = "{# edited #}" if path.suffix == ".jinja" else "EDITED = True\n"
    path.write_text(path.read_text() + edit)
    assert ran(checkout.train(*FEW, "--output-dir", artifacts)) == expected


def test_damaged_and_deleted_files_are_made_anew_and_nothing_else_is(checkout, artifacts) -> None:
    before = {path: sha256_of(path) for path in artifacts.rglob("*") if path.suffix in {".keras", ".npz", ".png"}}
    (snapshots,) = (path for path in artifacts.glob("store/*/*.npy") if np.load(path, mmap_mode="r").shape[0] == 3)
    generator = min(artifacts.glob("store/*/*.keras"))
    content = bytearray(generator.read_bytes())
    content[len(content) // 2] ^= 1
    generator.write_bytes(content)
    (artifacts / "runs" / "few" / "final_grid.png").unlink()
    snapshots.unlink()
    min(artifacts.glob("store/*/*.npy"), key=lambda path: path.stat().st_size).unlink()  # labels
    assert ran(checkout.train(*FEW, "--output-dir", artifacts)) == {"normalize", "train", "publish"}
    assert {path: sha256_of(path) for path in before} == before
    assert ran(checkout.train(*FEW, "--output-dir", artifacts)) == set()


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def command_line(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def ended(pid: int, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not Path(f"/proc/{pid}").exists()


def test_a_training_killed_half_way_goes_on_and_ends_with_the_same_bytes(checkout, real_data_dir, tmp_path) -> None:
    checkout.options = QUICK
    options = ("--steps", 400, "--num-samples", 100, "--data-dir", real_data_dir, "--run-name", "killed")
    uninterrupted, killed = tmp_path / "uninterrupted", tmp_path / "killed"
    checkout.train(*options, "--output-dir", uninterrupted)
    with checkout.start("flows/train_flow.py", *options, "--output-dir", killed) as process:
        wait_for_checkpoint(killed, process)
        servers = [int(pid) for pid in children(process.pid) if "uvicorn" in command_line(pid)]
        process.kill()
    assert len(servers) == 1
    assert ended(servers[0]), "the embedded server does not outlive the command"
    assert not (killed / "latest").exists()
    output = checkout.run("flows/train_flow.py", *options, "--output-dir", killed)
    assert "Resuming from the checkpoint after" in output
    for name in ("generator.keras", "generator_average.keras", "history.csv", "samples.npz", "training.webp"):
        assert sha256_of(killed / "latest" / name) == sha256_of(uninterrupted / "latest" / name), name
    assert not list(killed.glob("scratch/*")), "checkpoints go when the result is stored"


def test_ctrl_c_in_a_terminal_saves_says_how_to_go_on_and_leaves_a_crashed_run(
    checkout, real_data_dir, tmp_path
) -> None:
    checkout.options = QUICK
    command = ("flows/train_flow.py", "--steps", 900, "--sample-every", 450, "--num-samples", 100)
    options = ("--data-dir", real_data_dir, "--output-dir", tmp_path / "artifacts")
    process, terminal = checkout.start_in_a_terminal(*command, *options)
    threading.Thread(
        target=lambda: wait_for_checkpoint(tmp_path / "artifacts", process) or os.write(terminal, b"\x03")
    ).start()
    shown = read_terminal(terminal)
    assert process.wait(timeout=60) == 130, shown
    assert "Run the same command again: it goes on from what is finished." in shown
    assert "Traceback" not in shown
    assert "Finished in state Crashed" in shown or "Crash detected" in shown
    assert "Resuming from the checkpoint after" in checkout.run(*command, *options)


def read_terminal(terminal: int) -> str:
    """Everything that a command shows until it ends."""
    shown = b""
    with contextlib.suppress(OSError):  # Linux says EIO when the last process has closed the terminal
        while chunk := os.read(terminal, 1 << 16):
            shown += chunk
    return shown.decode(errors="replace")


def test_images_are_had_from_a_published_generator(checkout, artifacts, tmp_path) -> None:
    out = tmp_path / "clothes.npz"
    checkout.run("-m", "gan.generate", artifacts / "latest", "--num-images", 100, "--out", out)
    published = np.load(artifacts / "latest" / "samples.npz")["images"]
    np.testing.assert_array_equal(np.load(out)["images"], published)
    checkout.run("-m", "gan.generate", artifacts / "latest", "--num-images", 9, "--out", tmp_path / "clothes.png")
    with Image.open(tmp_path / "clothes.png") as picture:
        assert picture.width > 3 * 28


def test_a_new_run_is_compared_with_the_latest_and_keeps_its_reference(checkout, artifacts, tmp_path) -> None:
    more = (*FEW[:-1], "more", "--seed", 1, "--output-dir", artifacts)
    assert ran(checkout.train(*more)) == {"train", "render", "compare", "publish"}
    run = artifacts / "runs" / "more"
    assert json.loads((run / "manifest.json").read_text())["reference"]["name"] == "few"
    differences = json.loads((run / "metrics.json").read_text())["differences"]
    for rows in differences.values():
        assert all(row["low"] <= row["high"] and row["verdict"] for row in rows.values())
    assert "Against few" in (run / "report.html").read_text()
    assert ran(checkout.train(*FEW, "--output-dir", artifacts)) == set(), "few was there first: it has no reference"
    assert ran(checkout.train(*more)) == set(), "though few is the latest now, and more has been published"
    shown = checkout.run("-m", "gan.compare", run, artifacts / "runs" / "few", "--out", tmp_path / "comparison.html")
    assert "Fréchet distance" in shown
    assert "more against few" in (tmp_path / "comparison.html").read_text()


def test_a_run_to_compare_with_that_is_none_is_a_clear_error_before_any_work(checkout, artifacts) -> None:
    with checkout.start("flows/train_flow.py", *FEW, "--output-dir", artifacts, "--compare-with", "nobody") as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "nobody is no published run that is whole" in output
    assert "Traceback" not in output
    assert "Beginning flow run" not in output
