"""Hostile files: they must not execute code, unpack to too many bytes, or be outside their folder."""

import ast
import gzip
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from builders import Bomb, small_classifier, write_own_data
from narrowing import not_none
from pipeline import PROJECT
from pydantic import ValidationError

from gan.errors import StoreError
from gan.storage.files import check_unpacked_size, read_array, sha256_of
from gan.training.checkpoints import Checkpoints
from tasks.records import Pictures


def test_pickled_arrays_are_refused_and_not_loaded(store, tmp_path) -> None:
    trace, objects = tmp_path / "exploded", np.array([Bomb(tmp_path / "exploded")], dtype=object)
    pickled = store.put_file(lambda path: np.save(path, objects, allow_pickle=True), ".npy")
    for content in (pickled, store.put_bytes(pickle.dumps(Bomb(trace)), ".npy"), store.put_bytes(b"", ".npy")):
        with pytest.raises(StoreError, match="holds no array of plain numbers"):
            store.load_array(content)
        with pytest.raises(StoreError, match="holds no array of plain numbers"):
            read_array(store.path(content))
    assert not trace.exists()


def test_a_pickled_checkpoint_is_skipped(tmp_path) -> None:
    trace, planted = tmp_path / "exploded", tmp_path / "planted.npz"
    np.savez(planted, a=np.array([Bomb(trace)], dtype=object), allow_pickle=True)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, {"a": np.zeros(3)})
    (whole,) = checkpoints.folder.iterdir()
    planted.rename(
        checkpoints.folder
        / f"{int(whole.name.split('.')[0]) + 1:0{len(whole.name.split('.')[0])}}.{sha256_of(planted)}.npz"
    )
    assert not_none(checkpoints.load_latest())[0] == 1
    assert not trace.exists()


def test_samples_with_pickles_or_more_than_a_run_can_have_are_refused(tmp_path) -> None:
    from gan.data.samples import load_samples

    trace, path = tmp_path / "exploded", tmp_path / "samples.npz"
    np.savez(path, images=np.array([Bomb(trace)], dtype=object), allow_pickle=True)
    with pytest.raises(StoreError, match="holds no images"):
        load_samples(path)
    assert not trace.exists()
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 28, 28), }"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", header.ljust(127) + b"\n")
    with pytest.raises(StoreError, match="holds no images"):
        load_samples(path)


def damaged(path: Path) -> Iterator[Path]:
    """Copies of a file, each with one bit changed; most in the directory of the archive, at its end."""
    content = path.read_bytes()
    for place in {*range(0, len(content), max(1, len(content) // 60)), *range(len(content) - 200, len(content))}:
        copy = bytearray(content)
        copy[place] ^= 1 << place % 8
        path.with_name(f"damaged{path.suffix}").write_bytes(copy)
        yield path.with_name(f"damaged{path.suffix}")


def test_damaged_samples_and_models_are_refused_and_nothing_else_is_raised(tmp_path) -> None:
    from gan.data.samples import load_samples, save_samples
    from gan.models.networks import load_model, save_model

    save_samples(np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8), tmp_path / "samples.npz")
    save_model(small_classifier(3), tmp_path / "model.keras")
    refused = {load_samples: 0, load_model: 0}
    for load, name in ((load_samples, "samples.npz"), (load_model, "model.keras")):
        for path in damaged(tmp_path / name):
            try:
                load(path)  # a time or a weight may have changed
            except StoreError:
                refused[load] += 1
    assert min(refused.values()) > 20


def test_an_archive_that_would_unpack_to_too_much_is_not_unpacked(tmp_path, monkeypatch) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(10**7))
    with pytest.raises(StoreError, match="unpacks to 10,000,000 bytes; expected at most 1,000"):
        check_unpacked_size(path, 1000)
    from gan.models import networks

    monkeypatch.setattr(networks, "MAX_MODEL_BYTES", 1000)
    with pytest.raises(StoreError, match="Nothing of it was unpacked"):
        networks.load_model(path)


def planted_models(folder: Path) -> Iterator[Path]:
    """Models that execute something when they are loaded without care."""
    from gan.models.backend import keras
    from gan.models.networks import save_model

    layers = keras.layers.Dense(2), keras.layers.Lambda(lambda x: Path("exploded").touch() or x, output_shape=(4,))
    for name, layer in zip(("plain", "lambda"), layers, strict=True):
        save_model(keras.Sequential([keras.Input((4,)), layer]), folder / f"{name}.keras")
    yield folder / "lambda.keras"
    call: dict[str, object] = {"module": "subprocess", "class_name": "Popen", "registered_name": None}
    call["config"] = {"args": f"touch {folder / 'exploded'}", "shell": True}
    for name, content in (("call", call), ("nothing", None), ("list", [])):
        with (
            zipfile.ZipFile(folder / "plain.keras") as source,
            zipfile.ZipFile(folder / f"{name}.keras", "w") as target,
        ):
            for entry in source.namelist():
                other = entry == "config.json"
                target.writestr(entry, json.dumps(content) if other else source.read(entry))
        yield folder / f"{name}.keras"


def test_models_that_would_execute_something_are_refused(tmp_path, monkeypatch) -> None:
    from gan.models.networks import load_model

    monkeypatch.chdir(tmp_path)
    for path in planted_models(tmp_path):
        with pytest.raises(StoreError, match="is no model that Keras"):
            load_model(path)
    assert not (tmp_path / "exploded").exists()
    assert load_model(tmp_path / "plain.keras").count_params() == 10


EXECUTING_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
EXECUTING_CALLS = {"eval", "exec", "compile", "__import__"}


@pytest.mark.parametrize("package", ["bench", "flows", "gan", "tasks"])
def test_no_source_loads_pickles_or_executes_text(package: str) -> None:
    for path in sorted((PROJECT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                assert not {name.partition(".")[0] for name in modules} & EXECUTING_MODULES, f"{path}:{node.lineno}"
            if not isinstance(node, ast.Call):
                continue
            call, where = ast.unparse(node.func), f"{path}:{node.lineno}"
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert call not in EXECUTING_CALLS | {"os.system", "yaml.load", "yaml.unsafe_load"}, where
            assert given.get("allow_pickle", "False") == "False", where
            assert given.get("shell", "False") == "False", where
            assert given.get("safe_mode", "True") == "True", where
            assert call != "np.load" or "allow_pickle" in given, where


UNPACK = """
import re, sys
from pathlib import Path
from gan.data.folder import describe_folder
from gan.errors import DataError
try:
    describe_folder("mine", Path(sys.argv[1]))
except DataError as error:
    print(error)
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print("MiB", int(peak[1]) // 1024)
"""


@pytest.mark.parametrize(("name", "limit", "most"), [("images", "784,000,016", 2000), ("labels", "1,000,008", 200)])
def test_a_gzip_bomb_costs_bounded_memory(tmp_path, name, limit, most) -> None:
    data = write_own_data(tmp_path / "own")
    kind = "train-images-idx3-ubyte" if name == "images" else "train-labels-idx1-ubyte"
    member = gzip.compress(bytes(2**26))
    (data / f"{kind}.gz").write_bytes(member * 64)  # 4 GiB
    done = subprocess.run([sys.executable, "-c", UNPACK, data], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert f"unpacks to more than the expected {limit} bytes; nothing of it was kept" in done.stdout
    assert int(done.stdout.split("MiB")[1]) < most, done.stdout


@pytest.mark.parametrize("path", ["../x.png", "/x.png", "grids/../../x.png", ".hidden", "grids//x.png", "", "a\n"])
def test_a_record_cannot_place_a_file_outside_of_the_runs_folder(store, path) -> None:
    ref = store.put_bytes(b"x", ".png")
    assert list(Pictures(by_path={"grids/x.png": ref}).files()) == [ref]
    with pytest.raises(ValidationError, match="should match pattern"):
        Pictures(by_path={path: ref})
