"""Small data sets in the form of the real one, for tests."""

import struct

import numpy as np

from gan.datasets.catalog import Dataset
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
