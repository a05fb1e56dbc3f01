import gzip
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import LABELS, PIXELS, fetch, idx_images, idx_labels
from pipeline import PROJECT, wait_until

from gan.data.catalog import FASHION_MNIST
from gan.data.idx import decode_images, decode_labels, read_unpacked
from gan.data.inspection import summarize
from gan.data.pixels import denormalize_images, normalize_images
from gan.data.sources import copy_verified
from gan.errors import DataError, SourceError


def test_all_256_pixel_values_survive_the_round_trip() -> None:
    pixels = np.resize(np.arange(256, dtype=np.uint8), (2, 28, 28))
    images = normalize_images(pixels)
    assert images.shape == (2, 28, 28, 1)
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (-1, 1)
    np.testing.assert_array_equal(denormalize_images(images), pixels)


def test_normalizing_anything_but_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got float64 of shape \(5, 28, 28\)"):
        normalize_images(PIXELS / 255)
    with pytest.raises(ValueError, match="not finite"):
        denormalize_images(np.full((1, 28, 28, 1), np.nan))


def test_idx_files_decode_to_what_was_encoded() -> None:
    np.testing.assert_array_equal(decode_images(idx_images(PIXELS), "images", 5), PIXELS)
    np.testing.assert_array_equal(decode_labels(idx_labels(LABELS), "labels", 5, 10), LABELS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx_images(PIXELS)[:7], "7 bytes, but its header alone has 16"),
        (idx_images(PIXELS)[:-1], "has 3,935 bytes; its header declares 3,936"),
        (idx_images(PIXELS) + b"x", "its header declares"),
        (idx_images(PIXELS, magic=0x801), "magic number 0x00000801; expected 0x00000803"),
        (idx_images(PIXELS[:4]), r"shape \(4, 28, 28\); expected \(5, 28, 28\)"),
        (idx_images(PIXELS[:, :14]), r"shape \(5, 14, 28\)"),
        (struct.pack(">4I", 0x803, 2**31, 2**31, 2**31), "its header declares"),
    ],
)
def test_each_fault_of_an_image_file_has_its_own_message(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_images(content, "images", 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx_labels(LABELS[:3]), "holds 3 labels; expected 5"),
        (idx_labels(np.array([0, 1, 2, 3, 10], np.uint8)), "holds label 10; expected 0 to 9"),
        (idx_labels(LABELS, magic=0x803), "magic number"),
    ],
)
def test_each_fault_of_a_label_file_has_its_own_message(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_labels(content, "labels", 5, 10)


def test_a_gz_bomb_is_not_unpacked(tmp_path) -> None:
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(bytes(50_000_000)))
    with pytest.raises(DataError, match="more than the expected 1,000 bytes"):
        read_unpacked(bomb, 1000)


@pytest.mark.parametrize(
    "damage", [lambda packed: packed[:-9], lambda packed: b"no gz at all", lambda packed: packed[:40]]
)
def test_a_damaged_gz_file_is_a_clear_error(tmp_path, damage) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(damage(gzip.compress(PIXELS.tobytes())))
    with pytest.raises(DataError, match="not a complete gz file"):
        read_unpacked(path, PIXELS.nbytes)


def test_a_split_is_summarized_by_class() -> None:
    summary = summarize(normalize_images(PIXELS), LABELS, FASHION_MNIST.class_names)
    assert summary["images_per_class"]["Dress"] == 2
    assert sum(summary["images_per_class"].values()) == summary["num_images"] == 5


def test_packed_and_unpacked_files_in_a_folder_are_a_source(packed, tmp_path) -> None:
    dataset, folder = packed
    _, from_packed = fetch(dataset, tmp_path, folder)
    for gz in folder.glob("*.gz"):
        (folder / gz.stem).write_bytes(gzip.decompress(gz.read_bytes()))
        gz.unlink()
    source, from_unpacked = fetch(dataset, tmp_path, folder)
    assert from_packed == from_unpacked
    assert str(folder) in source
    assert from_packed["train-images-idx3-ubyte"] == idx_images(PIXELS)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "has neither train-images-idx3-ubyte.gz nor train-images-idx3-ubyte"),
        (lambda path: path.write_bytes(path.read_bytes()[:-10]), "is cut short: .* bytes, expected"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "is too long"),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), "was altered or is of another data set"),
    ],
)
def test_a_bad_file_in_the_users_folder_is_an_error_and_no_other_source_is_tried(
    packed, tmp_path, damage, message
) -> None:
    dataset, folder = packed
    damage(folder / "train-images-idx3-ubyte.gz")
    with pytest.raises(DataError, match=message):
        copy_verified(dataset, folder, target=None)
    with pytest.raises(DataError, match=message):
        fetch(dataset, tmp_path, folder)


def test_the_download_cache_of_keras_is_a_source(packed, tmp_path, nowhere) -> None:
    dataset, folder = packed
    shutil.copytree(folder, tmp_path / "keras" / "datasets" / "tiny")
    source, files = fetch(dataset, tmp_path)
    assert "Keras" in source
    assert len(files) == 4


def test_when_every_source_fails_the_error_lists_each_reason_and_what_to_do(packed, tmp_path, nowhere) -> None:
    dataset, _ = packed
    unreachable = dataset.model_copy(update={"mirrors": ("https://mirror.invalid/",)})
    with pytest.raises(SourceError) as caught:
        fetch(unreachable, tmp_path)
    message = str(caught.value)
    for part in ("an earlier download", "Keras keeps", "mirror.invalid cannot be resolved", "no apt-get", "--data-dir"):
        assert part in message
    assert caught.value.transient
    assert "\n" not in repr(caught.value)


FETCH_FROM_DEBIAN = """
import sys
from pathlib import Path
from gan.data.catalog import FASHION_MNIST
from gan.data.sources import _fetch_from_debian
_fetch_from_debian(FASHION_MNIST, Path(sys.argv[1]))
"""


def test_apt_ends_when_its_run_is_killed_and_leaves_nothing_outside_its_folder(tmp_path) -> None:
    """Use an apt that writes its process id and never ends."""
    for program in ("setpriv", "sleep"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here")
    programs, target, temporary = (tmp_path / name for name in ("programs", "target", "tmp"))
    for folder in (programs, target, temporary):
        folder.mkdir()
    for program in ("apt-get", "dpkg-deb"):
        lines = ("#!/bin/sh", f"echo $$ > {tmp_path}/new", f"mv {tmp_path}/new {tmp_path}/pid", "exec sleep 600")
        (programs / program).write_text("\n".join(lines))
        (programs / program).chmod(0o755)
    env = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", FETCH_FROM_DEBIAN, target], env=env, cwd=PROJECT) as process:
        wait_until((tmp_path / "pid").exists)
        process.kill()
    apt = Path("/proc", (tmp_path / "pid").read_text().strip(), "cmdline")
    wait_until(lambda: not apt.exists() or not apt.read_bytes(), seconds=30)  # without one it only waits to be noticed
    assert list(temporary.iterdir()) == []
    assert list(target.iterdir()), "it was in the middle of something"
