"""A user's own data set: its description and its faults. Whole runs with it are in `test_end_to_end.py`."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import change_first_label, idx_images, idx_labels, write_own_data
from PIL import ExifTags, Image
from pipeline import PROJECT

from gan.data import folder as own
from gan.data.folder import describe_folder
from gan.data.idx import decode_images, decode_labels
from gan.data.sources import copy_verified, fetch_files
from gan.errors import DataError, SourceError

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_own_data(tmp_path / "own")


def test_the_description_of_a_folder_depends_on_the_content_of_its_files(folder) -> None:
    dataset = describe_folder("mine", folder)
    assert (dataset.name, dataset.title) == ("mine", "mine")
    assert dataset.num_images == {"train": 100, "test": 100}
    assert dataset.class_names == ("class 0", "class 1", "class 2")
    assert dataset.files[0].size == 16 + 100 * 28 * 28
    copy_verified(dataset, folder, target=None)


def test_a_folder_that_does_not_change_is_read_once(folder, monkeypatch) -> None:
    dataset = describe_folder("mine", folder)
    monkeypatch.setattr("gan.data.folder.read_unpacked", None)
    assert describe_folder("mine", folder) is dataset
    (folder / "class-names.txt").write_text("a\nb\nc\n")
    with pytest.raises(TypeError):
        describe_folder("mine", folder)


def test_class_names_in_a_link_that_leads_nowhere_are_not_ignored(folder) -> None:
    (folder / "class-names.txt").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"class-names\.txt is no file, or a link to none"):
        describe_folder("mine", folder)


def test_packed_and_unpacked_files_are_the_same_data_set(folder, tmp_path) -> None:
    packed = write_own_data(tmp_path / "packed", pack=True)
    assert describe_folder("mine", packed) == describe_folder("mine", folder)
    copy_verified(describe_folder("mine", folder), packed, target=None)


def images_in(folder: Path, prefix: str) -> np.ndarray:
    """Return the images of a split, uint8 (n, 28, 28)."""
    return decode_images((folder / f"{prefix}-images-idx3-ubyte").read_bytes(), "images")


def test_the_script_in_the_documentation_makes_a_data_set_of_pictures(folder, tmp_path) -> None:
    made_from, pictures = describe_folder("mine", folder), tmp_path / "pictures"
    for split, prefix in (("train", "train"), ("test", "t10k")):
        labels = decode_labels((folder / f"{prefix}-labels-idx1-ubyte").read_bytes(), "labels", 100)
        for row, (label, pixels) in enumerate(zip(labels, images_in(folder, prefix), strict=True)):
            path = pictures / split / f"class {label}" / f"{row:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).convert("RGB").save(path)
            (path.parent / ".DS_Store").touch()
    (script,) = re.findall(
        r"```python\n(# write_idx\.py.*?)```", (PROJECT / "docs/operations.md").read_text(encoding="utf-8"), re.DOTALL
    )
    subprocess.run([sys.executable, "-c", script, pictures, tmp_path / "data"], check=True)
    found = describe_folder("mine", tmp_path / "data")
    assert (found.class_names, found.num_images) == (made_from.class_names, made_from.num_images)
    of_first_class = images_in(folder, "train")[::3]
    assert np.array_equal(images_in(tmp_path / "data", "train")[: len(of_first_class)], of_first_class)
    shape = Image.new("LA", (14, 28), (200, 0))
    shape.paste((100, 255), (0, 0, 7, 28))
    shape.save(pictures / "train" / "class 0" / "0.png")
    subprocess.run([sys.executable, "-c", script, pictures, tmp_path / "data"], check=True)
    assert images_in(tmp_path / "data", "train")[0][0].tolist() == [0] * 7 + [100] * 7 + [0] * 14
    lower = Image.new("L", (28, 28))
    lower.paste(255, (0, 14, 28, 28))
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 3  # the camera was upside down
    lower.save(pictures / "train" / "class 0" / "0.png", exif=turned)
    subprocess.run([sys.executable, "-c", script, pictures, tmp_path / "data"], check=True)
    assert images_in(tmp_path / "data", "train")[0][:, 0].tolist() == [255] * 14 + [0] * 14
    (pictures / "train" / "class 0" / "1.png").write_bytes(b"GIF89a")
    done = subprocess.run([sys.executable, "-c", script, pictures, tmp_path / "data"], capture_output=True, check=False)
    assert b"1.png cannot be read as a picture" in done.stderr
    (pictures / "train" / "class 0" / "1.png").unlink()
    (pictures / "test" / "class 2").rename(pictures / "test" / "Class 2")
    done = subprocess.run([sys.executable, "-c", script, pictures, tmp_path / "data"], capture_output=True, check=False)
    assert b"must have the same folders, one for each class. Only one of them has: Class 2, class 2" in done.stderr
    done = subprocess.run([sys.executable, "-c", script, tmp_path, tmp_path / "new"], capture_output=True, check=False)
    assert b"Usage: " in done.stderr
    assert not (tmp_path / "new").exists()


def test_one_different_label_makes_a_different_data_set(folder) -> None:
    before = describe_folder("mine", folder)
    change_first_label(folder / TRAIN_LABELS)
    assert describe_folder("mine", folder) != before


def test_class_names_are_read_from_the_file_and_markup_is_plain_text(folder) -> None:
    (folder / "class-names.txt").write_bytes("\ufeff<b>Kleid</b>\r\n連衣裙 | x\r\nBag\r\n".encode())
    assert describe_folder("mine", folder).class_names == ("<b>Kleid</b>", "連衣裙 | x", "Bag")


def test_empty_lines_after_the_class_names_do_not_count(folder) -> None:
    (folder / "class-names.txt").write_bytes(b"one\ntwo\nthree\n\n \n")
    assert describe_folder("mine", folder).class_names == ("one", "two", "three")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\ntwo\n", "train-labels-idx1-ubyte holds label 2; expected 0 to 1"),
        (b"one\n", "has 1 lines; expected 2 to 100"),
        (b"".join(b"%d\n" % number for number in range(101)), "has 101 lines; expected 2 to 100"),
        (b"one\n\nthree", "line 2: 0 characters; expected 1 to 60"),
        (b"one\ntwo\n" + b"x" * 61, "line 3: 61 characters; expected 1 to 60"),
        (b"one\ntwo\none", "line 3: 'one' occurs twice"),
        ("caf\u00e9\ntwo\ncafe\u0301".encode(), "line 3: 'caf\u00e9' occurs twice"),
        (b"one\n\x1b[2Jtwo\nthree", r"line 2: '\\x1b\[2Jtwo' holds a character that cannot be printed"),
        ("one\n\u202etwo\nthree".encode(), r"line 2: '\\u202etwo' holds a character"),
        (b"one\n\xff\nthree", "is not text in UTF-8: invalid start byte at byte 4"),
        (bytes(10**6), "is too long: 1,000,000 bytes"),
    ],
)
def test_class_names_that_cannot_be_shown_are_refused(folder, content, message) -> None:
    (folder / "class-names.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        describe_folder("mine", folder)


def same_image(num: int) -> bytes:
    return idx_images(np.zeros((num, 28, 28), np.uint8))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (TRAIN_IMAGES, None, "has neither train-images-idx3-ubyte.gz nor train-images-idx3-ubyte"),
        (TRAIN_IMAGES, idx_images(noise(100, 28, 28))[:-1], "its header declares 78,416"),
        (TRAIN_IMAGES, b"\0\0", "2 bytes, but its header alone has 16"),
        (TRAIN_IMAGES, idx_labels(noise(100)), "header alone|magic number"),
        (TRAIN_IMAGES, idx_images(noise(100, 32, 32)), r"shape \(100, 32, 32\); expected \(100, 28, 28\)"),
        (TRAIN_IMAGES, idx_images(noise(99, 28, 28)), "holds 99 images; expected 100 to 1,000,000"),
        (TRAIN_IMAGES, idx_images(noise(0, 28, 28)), "holds 0 images"),
        (TRAIN_IMAGES, same_image(100), "holds the same image 100 times"),
        (TRAIN_LABELS, idx_labels(np.zeros(101, np.uint8)), "holds 101 labels; expected 100, one per image"),
        (TRAIN_LABELS, idx_labels(np.full(100, 100, np.uint8)), "holds label 100; expected 0 to 99"),
    ],
)
def test_a_folder_without_a_valid_data_set_is_refused_with_the_reason(folder, name, content, message) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        describe_folder("mine", folder)


def test_a_data_set_of_one_class_is_refused(folder) -> None:
    for name in (TRAIN_LABELS, "t10k-labels-idx1-ubyte"):
        (folder / name).write_bytes(idx_labels(np.zeros(100, np.uint8)))
    with pytest.raises(DataError, match="has no label but 0; expected 2 to 100 classes"):
        describe_folder("mine", folder)


def test_fewer_training_than_test_images_are_refused(tmp_path) -> None:
    with pytest.raises(DataError, match=r"(?s)100 training images and 101 test images.*splits exchanged\?"):
        describe_folder("mine", write_own_data(tmp_path / "own", num_test=101))


@pytest.mark.parametrize("pack", [False, True])
def test_files_larger_than_the_largest_data_set_are_not_read(folder, monkeypatch, pack) -> None:
    monkeypatch.setitem(own._MAX_BYTES, "images", 100_000)
    (folder / TRAIN_IMAGES).unlink()
    content = bytes(10_000_000)
    path = folder / (f"{TRAIN_IMAGES}.gz" if pack else TRAIN_IMAGES)
    path.write_bytes(gzip.compress(content) if pack else content)
    with pytest.raises(DataError, match=r"more than the expected 100,000|expected at most 100,000"):
        describe_folder("mine", folder)


def test_the_error_names_a_file_that_cannot_be_read(folder) -> None:
    (folder / "class-names.txt").mkdir()
    with pytest.raises(DataError, match=r"class-names.txt is no file"):
        describe_folder("mine", folder)


@pytest.mark.parametrize("pack", [False, True])
def test_files_that_change_after_their_description_are_refused(tmp_path, pack) -> None:
    folder = write_own_data(tmp_path / "own", pack=pack)
    dataset = describe_folder("mine", folder)
    content = idx_labels(np.ones(100, np.uint8))
    path = folder / (f"{TRAIN_LABELS}.gz" if pack else TRAIN_LABELS)
    path.write_bytes(gzip.compress(content) if pack else content)
    with pytest.raises(DataError, match="was altered or is of another data set"):
        copy_verified(dataset, folder, target=None)


def test_own_data_is_not_searched_in_debian_packages(folder, tmp_path, nowhere) -> None:
    with pytest.raises(SourceError, match="could not be fetched from any of 2 sources"):
        fetch_files(describe_folder("mine", folder), tmp_path, data_dir=None)
