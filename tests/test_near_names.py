"""Messages for files of a data set with almost the right name or format."""

import gzip
import io
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from builders import idx_images, write_own_data

from gan.data.catalog import FASHION_MNIST, FILE_NAMES
from gan.data.files import CLASS_NAMES_FILE
from gan.data.folder import describe_folder
from gan.data.idx import decode_images, decode_labels
from gan.data.sources import copy_verified
from gan.errors import DataError

IMAGES, LABELS = FILE_NAMES["train", "images"], FILE_NAMES["train", "labels"]


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_own_data(tmp_path / "own")


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        describe_folder("mine", folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("rename", "advice"),
    [
        (lambda name: name.replace("-idx", ".idx"), "train-images.idx3-ubyte: rename it to train-images-idx3-ubyte."),
        (str.upper, "T10K-LABELS-IDX1-UBYTE: rename it to t10k-labels-idx1-ubyte."),
        (lambda name: f"{name} (1).gz", "train-images-idx3-ubyte (1).gz: rename it to train-images-idx3-ubyte.gz."),
        (lambda name: name.partition("-idx")[0], "t10k-images: rename it to t10k-images-idx3-ubyte."),
        (
            lambda name: f"emnist-letters-{name.replace('t10k', 'test')}.gz",
            "emnist-letters-test-images-idx3-ubyte.gz: rename it to t10k-images-idx3-ubyte.gz.",
        ),
        (lambda name: f"{name}.gz.part", "train-images-idx3-ubyte.gz.part is an unfinished download"),
        (lambda name: f"{name}.zip", "train-images-idx3-ubyte.zip is an archive: unpack it"),
        (lambda name: f"{name}.npy", "train-labels-idx1-ubyte.npy is in another format: write it in the IDX format"),
    ],
)
def test_the_error_lists_files_with_similar_names_and_what_to_do(folder, rename, advice) -> None:
    for name in FILE_NAMES.values():
        (folder / name).rename(folder / rename(name))
    message = refusal(folder)
    assert message.startswith(f"{folder} has neither {IMAGES}.gz nor {IMAGES}.\nThese files look like missing ones:\n")
    assert advice in message
    assert message.count("\n  - ") == 4


def test_no_similar_names_are_listed_for_a_file_that_exists(folder) -> None:
    shutil.copy(folder / IMAGES, folder / "train-images.idx3-ubyte")
    (folder / LABELS).unlink()
    advice = "Put the missing file there and run again. To make such files from pictures: docs/operations.md."
    assert refusal(folder).endswith(f"nor {LABELS}.\n{advice}")


@pytest.mark.parametrize("below", [lambda name: "raw", lambda name: name])
def test_files_in_a_subfolder_are_found(folder, below) -> None:
    for name in FILE_NAMES.values():
        (folder / name).rename(folder / "moved")
        (folder / below(name)).mkdir(exist_ok=True)
        (folder / "moved").rename(folder / below(name) / name)
    assert f"{below(IMAGES)}/{IMAGES} is in a subfolder: put all four files into one folder" in refusal(folder)


def test_broken_links_and_unprintable_names_are_shown(folder) -> None:
    (folder / IMAGES).unlink()
    (folder / IMAGES).symlink_to(folder / "nowhere")
    assert f"{IMAGES} is a link to a file that does not exist" in refusal(folder)
    (folder / IMAGES).unlink()
    (folder / "train-images\x1b[2J").write_bytes(b"")
    assert r"train-images\x1b[2J" in refusal(folder)
    assert "\x1b" not in refusal(folder)


def test_at_most_three_similar_files_are_listed_for_each_missing_one(folder) -> None:
    (folder / IMAGES).unlink()
    for number in range(9):
        (folder / f"train-images-{number}").write_bytes(b"")
    assert refusal(folder).count("\n  - ") == 3


def test_a_file_in_place_of_the_folder_is_refused(folder, tmp_path) -> None:
    (tmp_path / "own.zip").write_bytes(b"PK")
    assert "own.zip is a file; expected a folder" in refusal(tmp_path / "own.zip")


@pytest.mark.parametrize(
    "name",
    ["class_names.txt", "classnames.txt", "class-names", "Class-Names.TXT", "class-names.txt.txt", "classes.txt"],
)
def test_a_file_similar_to_class_names_is_not_ignored(folder, name) -> None:
    (folder / name).write_text("one\ntwo\nthree\n")
    assert f"has no {CLASS_NAMES_FILE}, but {name}; " in refusal(folder)
    (folder / CLASS_NAMES_FILE).write_text("one\ntwo\nthree\n")
    assert describe_folder("mine", folder).class_names == ("one", "two", "three")


@pytest.mark.parametrize("name", ["README.txt", "notes-on-classification.md"])
def test_unrelated_files_in_the_folder_are_ignored(folder, name) -> None:
    (folder / name).write_text("words")
    assert describe_folder("mine", folder).class_names == ("class 0", "class 1", "class 2")


def test_a_packed_and_an_unpacked_file_must_hold_the_same(folder) -> None:
    before = describe_folder("mine", folder)
    (folder / f"{IMAGES}.gz").write_bytes(gzip.compress((folder / IMAGES).read_bytes()))
    assert describe_folder("mine", folder) == before
    (folder / f"{IMAGES}.gz").write_bytes(gzip.compress((folder / FILE_NAMES["test", "images"]).read_bytes()))
    assert f"{folder} holds both {IMAGES}.gz and {IMAGES}, and their content differs.\nRemove" in refusal(folder)


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, PIXELS)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            struct.pack(">4I", 0xD03, *PIXELS.shape) + bytes(4 * PIXELS.size),
            "It holds float32 .*\nWrite unsigned bytes",
        ),
        (struct.pack("<4I", 0x803, *PIXELS.shape) + PIXELS.tobytes(), "reverse order .*\n.* in big-endian order"),
        (
            struct.pack(">3I", 0x802, 5, 784) + PIXELS.tobytes(),
            "Its number of dimensions is 2.\n.* neither flattened nor in colour",
        ),
        (struct.pack(">5I", 0x804, 5, 28, 28, 3) + bytes(3 * PIXELS.size), "Its number of dimensions is 4"),
        (struct.pack(">2I", 0x801, 20) + bytes(20), "Images and labels are exchanged"),
        (idx_images(PIXELS.repeat(2, axis=1)), "Scale each image to 28 x 28 pixels"),
        (gzip.compress(idx_images(PIXELS), mtime=0), "It is a gz file.\nUnpack it"),
        (npy(), "It is a NumPy file"),
        (b"PK\3\4" + bytes(20), "It is a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "It is a pointer of Git LFS"),
        (b"<!DOCTYPE html><html>", "It is a web page"),
        (bytes(range(100, 120)), "It is no IDX file"),
    ],
)
def test_the_error_says_what_a_file_holds_instead_of_grey_images(content, message) -> None:
    with pytest.raises(DataError, match=message):
        decode_images(content, "images", 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (struct.pack(">2I", 0xC01, 3) + bytes(12), "It holds int32"),
        (struct.pack(">3I", 0x802, 3, 10) + bytes(30), "Its number of dimensions is 2.\n.* labels .* not one-hot"),
        (idx_images(PIXELS), "Images and labels are exchanged"),
    ],
)
def test_the_error_says_what_a_file_holds_instead_of_labels(content, message) -> None:
    with pytest.raises(DataError, match=message):
        decode_labels(content, "labels", 3, 10)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx_images(PIXELS), "it is already unpacked .*\n.*Remove .gz from its name"),
        (b"<!DOCTYPE html>", "it is a web page"),
        (gzip.compress(bytes(1000), mtime=0)[:-5], "Compressed file ended .*\n.*Download or copy it again"),
    ],
)
def test_the_error_says_what_a_file_holds_instead_of_gz(folder, content, message) -> None:
    (folder / IMAGES).unlink()
    (folder / f"{IMAGES}.gz").write_bytes(content)
    with pytest.raises(DataError, match=message):
        describe_folder("mine", folder)


def test_the_error_for_own_data_as_fashion_mnist_names_the_option_dataset(tmp_path) -> None:
    packed = write_own_data(tmp_path / "own", pack=True)
    with pytest.raises(DataError, match="your own data set, give its name with --dataset"):
        copy_verified(FASHION_MNIST, packed, target=None)
