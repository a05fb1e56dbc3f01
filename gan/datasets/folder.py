"""A data set of one's own: a folder in the form of MNIST, described by what its files hold."""

import hashlib
from pathlib import Path

from gan.datasets.catalog import FILE_NAMES, DataFile, Dataset, Kind, Split
from gan.datasets.idx import decode_images, decode_labels, promised_items, read_unpacked
from gan.datasets.pixels import IMAGE_SIZE
from gan.datasets.sources import check_is_folder, find_file, readable
from gan.errors import DataError

MIN_IMAGES, MAX_IMAGES = 100, 1_000_000
"""Images in a split: as many as a run draws and measures at least; what memory holds at most (3 GB as floats)."""

MIN_CLASSES, MAX_CLASSES = 2, 100
CLASS_NAMES_FILE, MAX_CLASS_NAME = "class-names.txt", 60

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
        DataError: If a file is missing, is not whole, or does not hold what a run needs.
    """
    check_is_folder(folder, name)
    with readable(folder):
        contents = {key: read_unpacked(find_file(folder, FILE_NAMES[key]), _MAX_BYTES[key[1]]) for key in FILE_NAMES}
        class_names = _read_class_names(folder / CLASS_NAMES_FILE)
    num_train, num_test = (_check_images(contents, split) for split in ("train", "test"))
    if num_train < num_test:
        raise DataError(
            f"{name} has {num_train:,} training images and {num_test:,} test images; expected no fewer training "
            "images.\nAs many of them as there are test images show what a perfect generator would reach."
        )
    num_classes = max(_check_labels(contents, split, class_names) for split in ("train", "test"))
    if num_classes < MIN_CLASSES:
        raise DataError(f"{name} has no label but 0; expected {MIN_CLASSES} to {MAX_CLASSES} classes, from 0 on.")
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


def _check_images(contents: dict[tuple[Split, Kind], bytes], split: Split) -> int:
    """How many images a split has; they are all decoded."""
    content, name = contents[split, "images"], FILE_NAMES[split, "images"]
    num = promised_items(content)
    pixels = decode_images(content, name, num)
    if not MIN_IMAGES <= num <= MAX_IMAGES:
        raise DataError(f"{name} holds {num:,} images; expected {MIN_IMAGES:,} to {MAX_IMAGES:,} in each split.")
    if (pixels.min(axis=0) == pixels.max(axis=0)).all():
        raise DataError(
            f"{name} holds {num:,} times the same image.\n"
            "Were the images lost when it was written (grey values of 0 to 1 become 0 as bytes)?"
        )
    return num


def _check_labels(contents: dict[tuple[Split, Kind], bytes], split: Split, class_names: tuple[str, ...]) -> int:
    """How many classes the labels of a split need."""
    labels = decode_labels(
        contents[split, "labels"],
        FILE_NAMES[split, "labels"],
        num_labels=promised_items(contents[split, "images"]),
        num_classes=len(class_names) or MAX_CLASSES,
    )
    return int(labels.max()) + 1


def _read_class_names(path: Path) -> tuple[str, ...]:
    """The names in a file; none if there is no file.

    Raises:
        DataError: If the file holds anything but some names, one a line.
    """
    if not path.exists():
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
