"""The main job as a user runs it: few steps, every stage, a real Prefect server.

The data set is a small one of our own, and the networks are small. `test_ui.py` runs the job on Fashion-MNIST.
"""

import contextlib
import json
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import write_own_data
from PIL import Image, WebPImagePlugin
from pipeline import SMALL, STAGES_OF_OWN_DATA, ran, read_until, states, wait_for_checkpoint

from gan.report.history_file import AVERAGE_QUALITY_COLUMNS, QUALITY_COLUMNS
from gan.storage.files import sha256_of
from gan.training.history import HISTORY_COLUMNS

HOSTILE = "<script>alert(1)</script>"
FEW = (*SMALL, "--batch-size", 16, "--num-samples", 100, "--device", "cpu")


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """A data set whose class names are markup, or long."""
    folder = write_own_data(tmp_path_factory.mktemp("own") / "data")
    (folder / "class-names.txt").write_text(f"{HOSTILE}\n{'m' * 60}\nlarge | square\n")
    return folder


def few(data: Path, folder: Path, *more: object, name: str = "few", steps: int = 6) -> tuple[object, ...]:
    length = ("--steps", steps, "--sample-every", steps // 2)
    where = ("--dataset", "mine", "--data-dir", data, "--output-dir", folder, "--run-name", name)
    return ("flows/train_flow.py", *FEW, *length, *where, *more)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, quick_checkout, own) -> Path:
    """The output folder of a finished run; tests take copies."""
    folder = tmp_path_factory.mktemp("finished") / "artifacts"
    assert ran(states(quick_checkout.run(*few(own, folder)))) == set(STAGES_OF_OWN_DATA)
    return folder


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
        assert isinstance(animation, WebPImagePlugin.WebPImageFile)
        assert animation.n_frames == 3
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["timings_seconds"]) == {*STAGES_OF_OWN_DATA}
    assert metrics["metrics"]["frechet_distance"]["n"] == 100
    rows = [row.split(",") for row in (run / "history.csv").read_text().splitlines()]
    assert rows[0] == ["step", *HISTORY_COLUMNS, *QUALITY_COLUMNS, *AVERAGE_QUALITY_COLUMNS]
    assert [row[0] for row in rows[1:] if row[4]] == ["0", "3", "5"], "judged at every snapshot"
    assert len(rows) == 1 + 6
    assert metrics["extractor_sha256"] == sha256_of(run / "extractor.keras")
    assert all(row["n"] == 100 and row["extractor"] and row["floor"] is not None for row in metrics["metrics"].values())


def test_class_names_of_own_data_are_published_as_text(finished) -> None:
    run = finished / "latest"
    assert json.loads((run / "manifest.json").read_text())["data"]["name"] == "mine"
    assert json.loads((run / "config.json").read_text())["data"]["class_names"][0] == HOSTILE
    assert HOSTILE in json.loads((run / "data_summary.json").read_text())["test"]["images_per_class"]
    page = (run / "report.html").read_text()
    assert "mine: real and generated</title>" in page
    assert "Data: mine." in page
    assert HOSTILE not in page
    assert HOSTILE not in (run / "report.md").read_text()


def test_the_same_command_again_is_all_cached_and_never_imports_tensorflow(quick_checkout, own, finished) -> None:
    command = [str(part) for part in (*few(own, finished), *quick_checkout.options)]
    code = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print('imported:', 'tensorflow' in sys.modules or 'keras' in sys.modules))\n"
        f"sys.argv = {command!r}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    output = quick_checkout.run("-c", code)
    assert output.count("- Cached") == len(STAGES_OF_OWN_DATA)
    assert "imported: False" in output
    assert "Warning" not in output
    assert "Traceback" not in output
    assert str(finished / "runs" / "few" / "report.html") in output


def test_damaged_and_deleted_files_are_made_again_and_nothing_else_is(quick_checkout, own, artifacts) -> None:
    before = {path: sha256_of(path) for path in artifacts.rglob("*") if path.suffix in {".keras", ".npz", ".png"}}
    snapshots, _ = (path for path in artifacts.glob("store/*/*.npy") if np.load(path, mmap_mode="r").shape[0] == 3)
    digest = sha256_of(artifacts / "latest" / "generator.keras")
    (generator,) = artifacts.glob(f"store/{digest[:2]}/{digest}*")
    content = bytearray(generator.read_bytes())
    content[len(content) // 2] ^= 1
    generator.write_bytes(content)
    (artifacts / "runs" / "few" / "final_grid.png").unlink()
    snapshots.unlink()
    labels, *_ = (path for path in artifacts.glob("store/*/*.npy") if np.load(path, mmap_mode="r").dtype == np.uint8)
    labels.unlink()
    assert ran(states(quick_checkout.run(*few(own, artifacts)))) == {"normalize", "train", "publish"}
    assert {path: sha256_of(path) for path in before} == before


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def command_line(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def ended(pid: int, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.drill
@pytest.mark.real_data
def test_a_training_killed_half_way_goes_on_and_ends_with_the_same_bytes(checkout, real_data_dir, tmp_path) -> None:
    """At the full size, on the real data; `test_equal_runs.py` does it on a small scale."""
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


def test_ctrl_c_in_a_terminal_saves_says_how_to_go_on_and_leaves_a_crashed_run(quick_checkout, own, tmp_path) -> None:
    """With an embedded server."""
    alone = replace(quick_checkout, env=dict(quick_checkout.env))
    del alone.env["PREFECT_API_URL"]
    command = few(own, tmp_path / "artifacts", steps=3900)
    process, terminal = alone.start_in_a_terminal(*command)
    threading.Thread(
        target=lambda: wait_for_checkpoint(tmp_path / "artifacts", process) or os.write(terminal, b"\x03")
    ).start()
    shown = read_terminal(terminal)
    assert process.wait(timeout=60) == 130, shown
    assert "Run the same command again: it continues from what is finished." in shown
    assert "Traceback" not in shown
    assert "- Crashed" in shown or "Crash detected" in shown
    with quick_checkout.started(*command) as resumed:
        read_until(resumed, "Resuming from the checkpoint after")  # `test_equal_runs.py` resumes to the end


def read_terminal(terminal: int) -> str:
    """Everything that a command shows until it ends."""
    shown = b""
    with contextlib.suppress(OSError):  # Linux says EIO when the last process has closed the terminal
        while chunk := os.read(terminal, 1 << 16):
            shown += chunk
    return shown.decode(errors="replace")


def test_images_are_generated_from_a_published_run(finished, tmp_path, call) -> None:
    out = tmp_path / "clothes.npz"
    code, _ = call("gan.generate", finished / "latest", "--num-images", 100, "--out", out)
    assert code == 0
    of_average = np.load(finished / "latest" / "samples_average.npz")["images"]
    np.testing.assert_array_equal(np.load(out)["images"], of_average)
    code, _ = call("gan.generate", finished / "latest", "--num-images", 100, "--last-weights", "--out", out)
    assert code == 0
    of_last = np.load(finished / "latest" / "samples.npz")["images"]
    np.testing.assert_array_equal(np.load(out)["images"], of_last)
    assert not np.array_equal(of_average, of_last)
    code, _ = call("gan.generate", finished / "latest", "--num-images", 9, "--out", tmp_path / "clothes.png")
    assert code == 0
    with Image.open(tmp_path / "clothes.png") as picture:
        assert picture.width > 3 * 28


def test_a_new_run_is_compared_with_the_latest(quick_checkout, own, artifacts, call, monkeypatch) -> None:
    command = few(own, artifacts, "--seed", 1, name="more")
    assert ran(states(quick_checkout.run(*command))) == {"train", "render", "separate", "compare", "publish"}
    run = artifacts / "runs" / "more"
    assert json.loads((run / "manifest.json").read_text())["reference"]["name"] == "few"
    differences = json.loads((run / "metrics.json").read_text())["differences"]
    for rows in differences.values():
        assert all(row["low"] <= row["high"] and row["verdict"] for row in rows.values())
    assert "Against few" in (run / "report.html").read_text()
    monkeypatch.setattr("gan.judging.bootstrap.RESAMPLES", 20)
    code, shown = call("gan.compare", run, artifacts / "runs" / "few")
    assert code == 0
    assert "Fréchet distance" in shown
    page = artifacts / "comparisons" / "more-against-few.html"
    assert "more against few" in page.read_text()
    assert 'href="comparisons/more-against-few.html"' in (artifacts / "index.html").read_text()
