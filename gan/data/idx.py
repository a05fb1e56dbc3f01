"""The IDX format of MNIST: a big-endian header of 32-bit words (magic, sizes of the dimensions), then unsigned bytes.

The magic number is 0x0000 08 dd: 08 for unsigned bytes, dd the number of dimensions.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from gan.data.catalog import Dataset, Split
from gan.data.pixels import IMAGE_SIZE
from gan.errors import DataError

_UNSIGNED_BYTES = 0x08
_ELEMENT_TYPES = {0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}

_SIGNATURES = {
    b"\x1f\x8b": ("a gz file", "Unpack it, or let its name end in .gz; if it does, it was packed twice."),
    b"PK\x03\x04": ("a zip archive", "Unpack it."),
    b"\x93NUMPY": ("a NumPy file", "Write the array in the IDX format."),
    b"\x89PNG": ("a PNG picture", "Write all images into one file in the IDX format."),
    b"version https://git-lfs": ("a pointer of Git LFS, not the file", "Get the file with: git lfs pull"),
    b"<": ("a web page", "Download the file again, and look at what the address gives."),
}
"""First bytes of files that are often found in place of an IDX file: what they are, and what to do."""

_LONGEST_SIGNATURE = max(map(len, _SIGNATURES))


def read_gzip(path: Path, max_bytes: int) -> bytes:
    """Unpack a gz file of at most `max_bytes` content, whatever the file claims to hold.

    Raises:
        DataError: If it is no gz file, is cut short or damaged, or would unpack to more than `max_bytes`.
    """
    try:
        with gzip.open(path, "rb") as file:
            content = file.read(max_bytes + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        with path.open("rb") as file:
            what, advice = _kind_of(file.read(_LONGEST_SIGNATURE))
        raise DataError(
            f"{path} is not a whole gz file: {what or error}.\nIt was expected to be one of at most {max_bytes:,} "
            f"unpacked bytes. {advice or 'Download or copy it again.'}"
        ) from error
    if len(content) > max_bytes:
        raise DataError(
            f"{path} unpacks to more than the expected {max_bytes:,} bytes; nothing of it was kept.\n"
            "It is not a file of this data set. Download it again from a source that you trust."
        )
    return content


def read_unpacked(path: Path, max_bytes: int) -> bytes:
    """What a file holds, unpacked if its name ends in .gz.

    Raises:
        DataError: If it holds more than `max_bytes`, or is no whole gz file.
        OSError: If it cannot be read.
    """
    if path.suffix == ".gz":
        return read_gzip(path, max_bytes)
    if (size := path.stat().st_size) > max_bytes:
        raise DataError(
            f"{path} is too long: {size:,} bytes, expected at most {max_bytes:,}.\n"
            "It is not a file of this data set. Download or copy it again."
        )
    return path.read_bytes()


def promised_items(content: bytes) -> int:
    """How many images or labels the header of an IDX file promises; 0 if it is cut short."""
    return int.from_bytes(content[4:8], "big")


def _kind_of(head: bytes) -> tuple[str, str]:
    """What a file is that was expected to be a gz file, and what to do; empty if its beginning does not say."""
    if head[:2] == b"\0\0" and head[2:3] and head[2] in (_UNSIGNED_BYTES, *_ELEMENT_TYPES):
        return "it is unpacked already (IDX)", "Remove .gz from its name."
    for signature, (what, advice) in _SIGNATURES.items():
        if head.startswith(signature) and signature != b"\x1f\x8b":
            return f"it is {what}", advice
    return "", ""


def _explain_magic(content: bytes, magic: int, num_dimensions: int) -> tuple[str, str]:
    """What a file holds in the place of unsigned bytes of so many dimensions, and what to write instead."""
    for signature, (what, advice) in _SIGNATURES.items():
        if content.startswith(signature):
            return f"It is {what}.", advice
    element_type, dimensions = divmod(magic, 0x100)
    if element_type in _ELEMENT_TYPES:
        return (
            f"It holds {_ELEMENT_TYPES[element_type]} (type {element_type:#04x}).",
            "Write unsigned bytes (uint8, type 0x08): pixels scaled to 0..255 and rounded, labels as they are.",
        )
    if content[2:4] == b"\0\0" and content[1] in (_UNSIGNED_BYTES, *_ELEMENT_TYPES):
        return (
            "Its bytes are in the reverse order (little-endian).",
            "Write the header's numbers in big-endian order, as struct.pack('>4I', ...) does.",
        )
    if element_type != _UNSIGNED_BYTES:
        return "It is no IDX file.", "Write the array in the IDX format, or download or copy the file again."
    if (num_dimensions, dimensions) in ((1, 3), (3, 1)):
        return "Images and labels are exchanged.", "Exchange the names of the two files."
    return (
        f"It has {_dimensions(dimensions)}.",
        "Write grey images of shape (n, 28, 28), neither flattened nor in colour, and labels of shape (n,), not "
        "one-hot.",
    )


def _dimensions(num: int) -> str:
    return f"{num} dimension{'s' if num != 1 else ''}"


def _decode(content: bytes, name: str, num_dimensions: int) -> np.ndarray:
    header_size = 4 * (1 + num_dimensions)
    if len(content) < header_size:
        raise DataError(
            f"{name} is cut short: {len(content)} bytes, but its header alone has {header_size}.\n"
            "Download or copy the file again."
        )
    magic, *shape = (int(word) for word in np.frombuffer(content, dtype=">u4", count=1 + num_dimensions))
    expected_magic = _UNSIGNED_BYTES << 8 | num_dimensions
    if magic != expected_magic:
        what, advice = _explain_magic(content, magic, num_dimensions)
        raise DataError(
            f"{name} starts with magic number {magic:#010x}; expected {expected_magic:#010x} "
            f"(unsigned bytes, {_dimensions(num_dimensions)}). {what}\n{advice}"
        )
    expected_size = header_size + math.prod(shape)
    if len(content) != expected_size:
        raise DataError(
            f"{name} has {len(content):,} bytes; its header promises {expected_size:,} for shape {tuple(shape)}.\n"
            "The file is cut short or was altered: download or copy it again."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header_size).reshape(shape)


def decode_images(content: bytes, name: str, num_images: int) -> np.ndarray:
    """Decode an IDX file of images.

    Args:
        content: The unpacked file.
        name: What to call the file in errors.
        num_images: How many images it must hold.

    Returns:
        uint8, shape (num_images, 28, 28), values 0..255; a view of `content`.

    Raises:
        DataError: If magic number, length, image size or count are not as expected.
    """
    pixels = _decode(content, name, num_dimensions=3)
    if pixels.shape != (num_images, IMAGE_SIZE, IMAGE_SIZE):
        advice = (
            "It is the file of another split or of another data set."
            if pixels.shape[1:] == (IMAGE_SIZE, IMAGE_SIZE)
            else f"Scale each image to {IMAGE_SIZE} x {IMAGE_SIZE} pixels."
        )
        raise DataError(
            f"{name} holds images of shape {pixels.shape}; expected {(num_images, IMAGE_SIZE, IMAGE_SIZE)}.\n{advice}"
        )
    return pixels


def decode_labels(content: bytes, name: str, num_labels: int, num_classes: int) -> np.ndarray:
    """Decode an IDX file of labels.

    Args:
        content: The unpacked file.
        name: What to call the file in errors.
        num_labels: How many labels it must hold.
        num_classes: Labels must be below this.

    Returns:
        uint8, shape (num_labels,), values 0..num_classes - 1; a view of `content`.

    Raises:
        DataError: If magic number, length or count are not as expected, or a label is out of range.
    """
    labels = _decode(content, name, num_dimensions=1)
    if labels.shape != (num_labels,):
        raise DataError(
            f"{name} holds {labels.size:,} labels; expected {num_labels:,}, one an image.\n"
            "It is the file of another split or of another data set."
        )
    if labels.size and labels.max() >= num_classes:
        raise DataError(
            f"{name} holds label {labels.max()}; expected 0 to {num_classes - 1}.\n"
            "The file was altered, or is of another data set."
        )
    return labels


def decode_split(dataset: Dataset, split: Split, images: bytes, labels: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Decode both files of a split, as `decode_images` and `decode_labels` do."""
    num, num_classes = dataset.num_images[split], len(dataset.class_names)
    return (
        decode_images(images, dataset.file(split, "images").name, num),
        decode_labels(labels, dataset.file(split, "labels").name, num, num_classes),
    )
