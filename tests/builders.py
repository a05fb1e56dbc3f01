"""Small data sets in the form of the real one, for tests."""

import gzip
import struct
from pathlib import Path

import numpy as np

from gan.datasets.catalog import FILE_NAMES, Dataset
from gan.datasets.sources import fetch_files


def idx_images(pixels: np.ndarray, magic: int = 0x803) -> bytes:
    return struct.pack(">4I", magic, *pixels.shape) + pixels.tobytes()


def idx_labels(labels: np.ndarray, magic: int = 0x801) -> bytes:
    return struct.pack(">2I", magic, len(labels)) + labels.tobytes()


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
LABELS = np.array([0, 9, 3, 3, 1], dtype=np.uint8)


def fetch(dataset: Dataset, tmp_path, data_dir=None):
    target = tmp_path / "target"
    target.mkdir(exist_ok=True)
    source = fetch_files(dataset, target, data_dir=data_dir)
    return source, {path.name: path.read_bytes() for path in target.iterdir()}


def write_own_data(folder: Path, *, num_train: int = 100, num_test: int = 100, pack: bool = False) -> Path:
    """A folder as a user would bring it: four files of smooth squares in three classes, by size."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, num in (("train", num_train), ("test", num_test)):
        labels = np.arange(num, dtype=np.uint8) % 3
        pixels = rng.integers(0, 40, (num, 28, 28), dtype=np.uint8)
        for image, label in zip(pixels, labels, strict=True):
            image[10 - 3 * label : 18 + 3 * label, 10 - 3 * label : 18 + 3 * label] += 200
        for kind, content in (("images", idx_images(pixels)), ("labels", idx_labels(labels))):
            name = FILE_NAMES[split, kind]
            (folder / f"{name}.gz" if pack else folder / name).write_bytes(gzip.compress(content) if pack else content)
    return folder


def change_first_label(path: Path) -> None:
    """From 0 to 1, in an unpacked file."""
    content = bytearray(path.read_bytes())
    content[8] = 1
    path.write_bytes(content)
