"""Both splits of a known data set in memory, for commands that need images and no pipeline."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from gan.data.catalog import Dataset, Split
from gan.data.idx import decode_split
from gan.data.sources import fetch_files


def fetch_splits(dataset: Dataset, *, data_dir: Path | None) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Pixels, uint8 (n, 28, 28), and labels, uint8 (n,), of the training and of the test split.

    Args:
        dataset: One of the catalog.
        data_dir: Folder with its four files; else an earlier download, the mirrors, Debian's package.

    Raises:
        SourceError: If the files cannot be had.
        DataError: If a file is not what it should be.
    """
    with TemporaryDirectory() as folder:
        fetch_files(dataset, Path(folder), data_dir=data_dir)
        return _read_split(dataset, Path(folder), "train"), _read_split(dataset, Path(folder), "test")


def _read_split(dataset: Dataset, folder: Path, split: Split) -> tuple[np.ndarray, np.ndarray]:
    images, labels = ((folder / dataset.file(split, kind).name).read_bytes() for kind in ("images", "labels"))
    return decode_split(dataset, split, images, labels)
