"""Descriptions of data sets: files, sizes, digests, class names and, for published data sets, download sources."""

from typing import Literal

from pydantic import BaseModel

Split = Literal["train", "test"]
Kind = Literal["images", "labels"]

FILE_NAMES: dict[tuple[Split, Kind], str] = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
"""Names of the four unpacked files. The names of packed files end in .gz."""


class DataFile(BaseModel, frozen=True, extra="forbid"):
    """One IDX file. Digests are SHA-256, sizes are in bytes.

    The size and digest of the packed file are known only for published data sets. Users may pack their own files with
    any settings, so only the unpacked content identifies them.
    """

    split: Split
    kind: Kind
    size: int
    sha256: str
    gz_size: int = 0
    gz_sha256: str = ""

    @property
    def name(self) -> str:
        """Name of the unpacked file."""
        return FILE_NAMES[self.split, self.kind]

    @property
    def gz_name(self) -> str:
        """Name of the file as it is distributed."""
        return f"{self.name}.gz"


class Dataset(BaseModel, frozen=True, extra="forbid"):
    """A data set in the format of MNIST: four IDX files with grey images of 28 x 28 pixels.

    A user's own data set has no mirrors and no Debian package, only a folder.
    """

    name: str
    title: str
    credit: str
    files: tuple[DataFile, ...]
    num_images: dict[Split, int]
    class_names: tuple[str, ...]
    mirrors: tuple[str, ...] = ()
    debian_package: str = ""
    debian_folder: str = ""


FASHION_MNIST = Dataset(
    name="fashion-mnist",
    title="Fashion-MNIST",
    credit="Fashion-MNIST, Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747",
    files=(
        DataFile(
            split="train",
            kind="images",
            size=47_040_016,
            sha256="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            gz_size=26_421_856,
            gz_sha256="b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
        ),
        DataFile(
            split="train",
            kind="labels",
            size=60_008,
            sha256="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            gz_size=29_491,
            gz_sha256="0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
        ),
        DataFile(
            split="test",
            kind="images",
            size=7_840_016,
            sha256="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            gz_size=4_422_079,
            gz_sha256="cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
        ),
        DataFile(
            split="test",
            kind="labels",
            size=10_008,
            sha256="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            gz_size=5_125,
            gz_sha256="8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
        ),
    ),
    num_images={"train": 60_000, "test": 10_000},
    class_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    debian_package="dataset-fashion-mnist",
    debian_folder="usr/share/datasets/fashion-mnist",
)

CATALOG = {dataset.name: dataset for dataset in (FASHION_MNIST,)}
"""Published data sets by name."""
