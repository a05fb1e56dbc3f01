"""A data set of one's own: a folder in the form of MNIST, described by what its files hold."""

import hashlib
from pathlib import Path

import numpy as np

from gan.data.catalog import FILE_NAMES, DataFile, Dataset, Kind, Split
from gan.data.files import check_is_folder, find_class_names, find_file, readable
from gan.data.idx import decode_images, decode_labels, promised_items, read_unpacked
from gan.data.inspection import MIN_IMAGES, LabelledPixels, refuse_unusable
from gan.data.label_inspection import MAX_CLASSES, MIN_CLASSES
from gan.data.pixels import IMAGE_SIZE
from gan.errors import DataError

MAX_IMAGES = 1_000_000
"""Images in a split: what memory holds at most (3 GB as floats)."""

MAX_CLASS_NAME = 60

_MAX_BYTES: dict[Kind, int] = {"images": 16 + MAX_IMAGES * IMAGE_SIZE**2, "labels": 8 + MAX_IMAGES}
_MAX_CLASS_NAMES_BYTES = 4 * MAX_CLASSES * (MAX_CLASS_NAME + 2)  # of UTF-8


def describe_folder(name: str, folder: Path) -> Dataset:
    """Describe the data set that lies in a folder.

    Args:
        name: What to call it.
        folder: Holds the four files of `FILE_NAMES`, packed or unpacked, and perhaps `class-names.txt`: UTF-8, one
            name a line, in the order of the labels.

    Returns:
        The data set by its content: equal bytes, packed or not and wherever they lie, give an equal value.

    Raises:
        DataError: If a file is missing, is not whole, or does not hold what a run needs
            (`gan.data.inspection.refuse_unusable`).
    """
    check_is_folder(folder, name)
    with readable(folder):
        contents = {key: _read(folder, name, _MAX_BYTES[key[1]]) for key, name in FILE_NAMES.items()}
        class_names = _read_class_names(folder)
    train, test = _decode(contents, "train"), _decode(contents, "test")
    num_train, num_test = len(train.pixels), len(test.pixels)
    if num_train < num_test:
        raise DataError(
            f"{name} has {num_train:,} training images and {num_test:,} test images; expected no fewer training "
            "images.\nAs many of them as there are test images show what a perfect generator would reach. Are the "
            "files of the two splits exchanged?"
        )
    refuse_unusable(train, test, class_names)
    num_classes = 1 + int(max(part.labels.max() for part in (train, test)))
    return Dataset(
        name=name,
        title=name,
        credit=name,
        files=tuple(
            DataFile(
                split=split,
                kind=kind,
                name=FILE_NAMES[split, kind],
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
            for (split, kind), content in contents.items()
        ),
        num_images={"train": num_train, "test": num_test},
        class_names=class_names or tuple(f"class {label}" for label in range(num_classes)),
    )


def _read(folder: Path, name: str, max_bytes: int) -> bytes:
    """What the file of that name holds, unpacked.

    Raises:
        DataError: If a packed and an unpacked file hold different bytes: only one of them would be used.
    """
    path = find_file(folder, name)
    content, other = read_unpacked(path, max_bytes), folder / name
    if path != other and other.is_file() and read_unpacked(other, max_bytes) != content:
        raise DataError(
            f"{folder} holds both {path.name} and {name}, and they do not hold the same.\n"
            "Remove the one that is not meant."
        )
    return content


def _decode(contents: dict[tuple[Split, Kind], bytes], split: Split) -> LabelledPixels:
    """Images and labels of a split; labels may have any value."""
    name, content = FILE_NAMES[split, "images"], contents[split, "images"]
    num = promised_items(content)
    pixels = decode_images(content, name, num)
    if not MIN_IMAGES <= num <= MAX_IMAGES:
        raise DataError(f"{name} holds {num:,} images; expected {MIN_IMAGES:,} to {MAX_IMAGES:,} in each split.")
    any_label = np.iinfo(np.uint8).max + 1
    return LabelledPixels(pixels, decode_labels(contents[split, "labels"], FILE_NAMES[split, "labels"], num, any_label))


def _read_class_names(folder: Path) -> tuple[str, ...]:
    """The names of the classes; none if there is no file with them.

    Raises:
        DataError: If the file holds anything but some names, one a line, or has nearly the right name.
    """
    path = find_class_names(folder)
    if path is None:
        return ()
    try:
        text = read_unpacked(path, _MAX_CLASS_NAMES_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}.") from error
    names = tuple(line.strip() for line in text.removesuffix("\n").split("\n"))
    if not MIN_CLASSES <= len(names) <= MAX_CLASSES:
        raise DataError(f"{path} has {len(names)} lines; expected {MIN_CLASSES} to {MAX_CLASSES}, one name a line.")
    for number, name in enumerate(names, 1):
        if not 1 <= len(name) <= MAX_CLASS_NAME:
            raise DataError(f"{path}, line {number}: {len(name)} characters; expected 1 to {MAX_CLASS_NAME}.")
        if not name.isprintable():
            raise DataError(f"{path}, line {number}: {name!r} holds a character that cannot be printed.\nRemove it.")
        if name in names[: number - 1]:
            raise DataError(f"{path}, line {number}: {name!r} is there twice; expected another name for each class.")
    return names
