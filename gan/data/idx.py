"""Decoding of the IDX format of MNIST: a header of big-endian 32-bit words, then unsigned bytes.

The header holds the magic number 0x0000 08 dd and one size for each dimension. In the magic number 08 means unsigned
bytes, and dd is the number of dimensions.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from gan.data.catalog import FILE_NAMES, Dataset, Split
from gan.data.pixels import IMAGE_SIZE
from gan.errors import DataError

_UNSIGNED_BYTES = 0x08
_ELEMENT_TYPES = {0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}

_GZIP = b"\x1f\x8b"
_SIGNATURES = {
    _GZIP: ("a gz file", "Unpack it, or let its name end in .gz; if it already does, the file was packed twice."),
    b"PK\x03\x04": ("a zip archive", "Unpack it."),
    b"\x93NUMPY": ("a NumPy file", "Write the array in the IDX format."),
    b"\x89PNG": ("a PNG picture", "Write all images into one file in the IDX format."),
    b"version https://git-lfs": ("a pointer of Git LFS, not the file", "Get the file with: git lfs pull"),
    b"<": ("a web page", "Download the file again, and check what the address returns."),
}
"""First bytes of files that users often give instead of an IDX file, with a description and advice."""


def read_unpacked(path: Path, max_bytes: int) -> bytes:
    """Read an untrusted file, and unpack it if its name ends in .gz; unpack at most `max_bytes`.

    Raises:
        DataError: If the unpacked content is larger than `max_bytes`, or a packed file is damaged or no gz file.
        OSError: If the file cannot be read.
    """
    if path.suffix != ".gz":
        if (size := path.stat().st_size) > max_bytes:
            raise DataError(
                f"{path} is too long: {size:,} bytes, expected at most {max_bytes:,}.\n"
                "It is not a file of this data set. Download or copy it again."
            )
        return path.read_bytes()
    try:
        with gzip.open(path, "rb") as file:
            content = file.read(max_bytes + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        what, advice = _explain_bad_gzip(path, error)
        raise DataError(
            f"{path} is not a complete gz file: {what}.\n"
            f"Expected a gz file of at most {max_bytes:,} unpacked bytes. {advice}"
        ) from error
    if len(content) > max_bytes:
        raise DataError(
            f"{path} unpacks to more than the expected {max_bytes:,} bytes; nothing of it was kept.\n"
            "It is not a file of this data set. Download it again from a source that you trust."
        )
    return content


def decode_images(content: bytes, name: str, num_images: int | None = None) -> np.ndarray:
    """Decode the content of an unpacked IDX file of images; `num_images` None accepts any number.

    Returns:
        uint8, shape (num_images, 28, 28), values 0..255; a view of `content`.

    Raises:
        DataError: If the magic number, the length, the image size or the number of images is not as expected.
    """
    pixels = _decode(content, name, num_dimensions=3)
    expected = (len(pixels) if num_images is None else num_images, IMAGE_SIZE, IMAGE_SIZE)
    if pixels.shape == expected:
        return pixels
    advice = f"Scale each image to {IMAGE_SIZE} x {IMAGE_SIZE} pixels."
    if pixels.shape[1:] == expected[1:]:
        advice = "It is the file of another split or of another data set."
    raise DataError(f"{name} holds images of shape {pixels.shape}; expected {expected}.\n{advice}")


def decode_labels(content: bytes, name: str, num_labels: int, num_classes: int = 256) -> np.ndarray:
    """Decode the content of an unpacked IDX file of labels.

    Returns:
        uint8, shape (num_labels,), values 0..num_classes - 1; a view of `content`.

    Raises:
        DataError: If the magic number, the length or the number of labels is not as expected, or a label is too large.
    """
    labels = _decode(content, name, num_dimensions=1)
    if labels.shape != (num_labels,):
        raise DataError(
            f"{name} holds {labels.size:,} labels; expected {num_labels:,}, one per image.\n"
            "It is the file of another split or of another data set."
        )
    if labels.size and labels.max() >= num_classes:
        raise DataError(
            f"{name} holds label {labels.max()}; expected 0 to {num_classes - 1}.\n"
            "The file was altered, or belongs to another data set."
        )
    return labels


def decode_split(dataset: Dataset, split: Split, images: bytes, labels: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Decode both files of a split: pixels, uint8 (n, 28, 28), and labels, uint8 (n,)."""
    num, num_classes = dataset.num_images[split], len(dataset.class_names)
    return (
        decode_images(images, FILE_NAMES[split, "images"], num),
        decode_labels(labels, FILE_NAMES[split, "labels"], num, num_classes),
    )


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
            f"(unsigned bytes, number of dimensions: {num_dimensions}). {what}\n{advice}"
        )
    expected_size = header_size + math.prod(shape)
    if len(content) != expected_size:
        raise DataError(
            f"{name} has {len(content):,} bytes; its header declares {expected_size:,} for shape {tuple(shape)}.\n"
            "The file is cut short or was altered: download or copy it again."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header_size).reshape(shape)


def _explain_bad_gzip(path: Path, error: Exception) -> tuple[str, str]:
    """Return what a file is instead of a complete gz file, and advice."""
    with path.open("rb") as file:
        head = file.read(max(map(len, _SIGNATURES)))
    if head[:2] == b"\0\0" and head[2:3] and head[2] in (_UNSIGNED_BYTES, *_ELEMENT_TYPES):
        return "it is already unpacked (IDX)", "Remove .gz from its name."
    what, advice = _identify(head)
    return (
        (f"it is {what}", advice) if what and not head.startswith(_GZIP) else (str(error), "Download or copy it again.")
    )


def _identify(content: bytes) -> tuple[str, str]:
    """Return what a file of another format is, and advice; both are empty if its first bytes are unknown."""
    return next((found for signature, found in _SIGNATURES.items() if content.startswith(signature)), ("", ""))


def _explain_magic(content: bytes, magic: int, num_dimensions: int) -> tuple[str, str]:
    """Return what a file holds instead of unsigned bytes with `num_dimensions` dimensions, and advice."""
    what, advice = _identify(content)
    if what:
        return f"It is {what}.", advice
    element_type, dimensions = divmod(magic, 0x100)
    if element_type in _ELEMENT_TYPES:
        return (
            f"It holds {_ELEMENT_TYPES[element_type]} (type {element_type:#04x}).",
            "Write unsigned bytes (uint8, type 0x08): pixels scaled to 0..255 and rounded, labels unchanged.",
        )
    if content[2:4] == b"\0\0" and content[1] in (_UNSIGNED_BYTES, *_ELEMENT_TYPES):
        return (
            "Its bytes are in the reverse order (little-endian).",
            "Write the numbers of the header in big-endian order, for example with struct.pack('>4I', ...).",
        )
    if element_type != _UNSIGNED_BYTES:
        return "It is no IDX file.", "Write the array in the IDX format, or download or copy the file again."
    if (num_dimensions, dimensions) in ((1, 3), (3, 1)):
        return "Images and labels are exchanged.", "Exchange the names of the two files."
    return (
        f"Its number of dimensions is {dimensions}.",
        "Write grey images of shape (n, 28, 28), neither flattened nor in colour, and labels of shape (n,), not "
        "one-hot.",
    )
