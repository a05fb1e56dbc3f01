"""A user's own data set: a folder in the format of MNIST, described by the content of its files."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from unicodedata import normalize

from gan.data.catalog import FILE_NAMES, DataFile, Dataset, Kind, Split
from gan.data.files import check_is_folder, find_class_names, find_file, readable
from gan.data.idx import decode_images, decode_labels, read_unpacked
from gan.data.inspection import MIN_IMAGES, LabelledPixels, refuse_unusable
from gan.data.label_inspection import MAX_CLASSES, MIN_CLASSES
from gan.data.pixels import IMAGE_SIZE
from gan.errors import DataError

MAX_IMAGES = 1_000_000
"""Limit for the images of one split, which bounds memory (3 GB as floats)."""

MAX_CLASS_NAME = 60

_MAX_BYTES: dict[Kind, int] = {"images": 16 + MAX_IMAGES * IMAGE_SIZE**2, "labels": 8 + MAX_IMAGES}
_MAX_CLASS_NAMES_BYTES = 4 * MAX_CLASSES * (MAX_CLASS_NAME + 2)  # UTF-8 has at most 4 bytes per character


def describe_folder(name: str, folder: Path) -> Dataset:
    """Check the data set in a folder; describe it by its unpacked bytes only, whatever the folder and the packing.

    The folder holds the four files of `FILE_NAMES`, packed or unpacked. It may also hold `class-names.txt`: UTF-8, one
    name per line, in the order of the labels.

    Raises:
        DataError: If a file is missing or damaged, or the data is unusable (`gan.data.inspection.refuse_unusable`).
    """
    check_is_folder(folder, name)
    with readable(folder):
        files = [entry for entry in os.scandir(folder) if entry.is_file()]
        state = frozenset((file.path, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    return _describe(name, folder, state)


@lru_cache(maxsize=1)  # each training of a sweep asks for it
def _describe(name: str, folder: Path, _state: frozenset[tuple[str, int, int]]) -> Dataset:
    """Describe a folder whose files are in a state, which changes with them."""
    with readable(folder):
        contents = {key: _read(folder, name, _MAX_BYTES[key[1]]) for key, name in FILE_NAMES.items()}
        class_names = _read_class_names(folder)
    train, test = _decode(contents, "train"), _decode(contents, "test")
    num_train, num_test = len(train.pixels), len(test.pixels)
    if num_train < num_test:
        raise DataError(
            f"{name} has {num_train:,} training images and {num_test:,} test images; expected no fewer training "
            "images.\nThe metrics of a perfect generator are estimated from as many training images as there are test "
            "images. Are the files of the two splits exchanged?"
        )
    refuse_unusable(train, test, class_names)
    num_classes = 1 + int(max(train.labels.max(), test.labels.max()))
    return Dataset(
        name=name,
        title=name,
        credit=name,
        files=tuple(
            DataFile(split=split, kind=kind, size=len(content), sha256=hashlib.sha256(content).hexdigest())
            for (split, kind), content in contents.items()
        ),
        num_images={"train": num_train, "test": num_test},
        class_names=class_names or tuple(f"class {label}" for label in range(num_classes)),
    )


def _read(folder: Path, name: str, max_bytes: int) -> bytes:
    """Read a file of the data set; refuse a packed and an unpacked file with different content."""
    path, unpacked = find_file(folder, name), folder / name
    content = read_unpacked(path, max_bytes)
    if path != unpacked and unpacked.is_file() and read_unpacked(unpacked, max_bytes) != content:
        raise DataError(
            f"{folder} holds both {path.name} and {name}, and their content differs.\nRemove the wrong one."
        )
    return content


def _decode(contents: dict[tuple[Split, Kind], bytes], split: Split) -> LabelledPixels:
    name = FILE_NAMES[split, "images"]
    pixels = decode_images(contents[split, "images"], name)
    num = len(pixels)
    if not MIN_IMAGES <= num <= MAX_IMAGES:
        raise DataError(f"{name} holds {num:,} images; expected {MIN_IMAGES:,} to {MAX_IMAGES:,} in each split.")
    return LabelledPixels(pixels, decode_labels(contents[split, "labels"], FILE_NAMES[split, "labels"], num))


def _read_class_names(folder: Path) -> tuple[str, ...]:
    """Read and check the class names; return an empty tuple if the folder has no file with class names."""
    path = find_class_names(folder)
    if path is None:
        return ()
    try:
        text = read_unpacked(path, _MAX_CLASS_NAMES_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}.") from error
    names = tuple(normalize("NFC", line.strip()) for line in text.rstrip().split("\n"))
    if not MIN_CLASSES <= len(names) <= MAX_CLASSES:
        raise DataError(f"{path} has {len(names)} lines; expected {MIN_CLASSES} to {MAX_CLASSES}, one name per line.")
    for number, name in enumerate(names, 1):
        if not 1 <= len(name) <= MAX_CLASS_NAME:
            raise DataError(f"{path}, line {number}: {len(name)} characters; expected 1 to {MAX_CLASS_NAME}.")
        if not name.isprintable():
            raise DataError(f"{path}, line {number}: {name!r} holds a character that cannot be printed.\nRemove it.")
        if name in names[: number - 1]:
            raise DataError(f"{path}, line {number}: {name!r} occurs twice; expected a different name for each class.")
    return names
