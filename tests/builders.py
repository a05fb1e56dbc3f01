"""Build small data sets in the format of Fashion-MNIST, a small feature extractor, and what lists of runs read."""

import gzip
import json
import struct
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gan.config import TrainConfig
from gan.data.catalog import FILE_NAMES, Dataset, Kind, Split
from gan.data.sources import fetch_files
from gan.judging.class_shares import ClassShare
from gan.judging.features import Extractor
from gan.recipes import ARTICLE
from gan.report.rendering import draw_grid, png_bytes
from gan.storage.store import Store
from tasks.records import FittedExtractor, NormalizedData


def idx_images(pixels: np.ndarray, magic: int = 0x803) -> bytes:
    """Return images, uint8 (n, height, width), as an IDX file."""
    return struct.pack(">4I", magic, *pixels.shape) + pixels.tobytes()


def idx_labels(labels: np.ndarray, magic: int = 0x801) -> bytes:
    """Return labels, uint8 (n,), as an IDX file."""
    return struct.pack(">2I", magic, len(labels)) + labels.tobytes()


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
LABELS = np.array([0, 9, 3, 3, 1], dtype=np.uint8)

CLASS_NAMES = tuple("abcdefghij")
EQUAL_SHARES = tuple(ClassShare(name=name, real=0.1, generated=0.1) for name in CLASS_NAMES)


def fetch(dataset: Dataset, tmp_path, data_dir=None):
    """Fetch a data set; return its source, and the content of each file by name."""
    target = tmp_path / "target"
    target.mkdir(exist_ok=True)
    source = fetch_files(dataset, target, data_dir=data_dir)
    return source, {path.name: path.read_bytes() for path in target.iterdir()}


def write_own_data(folder: Path, *, num_train: int = 100, num_test: int = 100, pack: bool = False) -> Path:
    """Write the four files of a user's data set: noisy squares in three classes, which are their sizes."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    sizes: dict[Split, int] = {"train": num_train, "test": num_test}
    for split, num in sizes.items():
        labels = np.arange(num, dtype=np.uint8) % 3
        pixels = rng.integers(0, 40, (num, 28, 28), dtype=np.uint8)
        for image, label in zip(pixels, labels, strict=True):
            image[10 - 3 * label : 18 + 3 * label, 10 - 3 * label : 18 + 3 * label] += 200
        contents: dict[Kind, bytes] = {"images": idx_images(pixels), "labels": idx_labels(labels)}
        for kind, content in contents.items():
            name = FILE_NAMES[split, kind]
            (folder / f"{name}.gz" if pack else folder / name).write_bytes(gzip.compress(content) if pack else content)
    return folder


def change_first_label(path: Path) -> None:
    """Change the first label of an unpacked file from 0 to 1."""
    content = bytearray(path.read_bytes())
    content[8] = 1
    path.write_bytes(content)


def smooth_pixels(n: int, seed: int) -> np.ndarray:
    """Return images of one bright spot each, uint8 (n, 28, 28), of similar sizes and at similar places."""
    rng = np.random.default_rng(seed)
    centre, width = rng.uniform(8, 20, (n, 2, 1)), rng.uniform(3, 6, (n, 1))
    across = np.exp(-(((np.arange(28) - centre[:, 0]) / width) ** 2))
    down = np.exp(-(((np.arange(28) - centre[:, 1]) / width) ** 2))
    return np.rint(255 * down[:, :, None] * across[:, None, :]).astype(np.uint8)


def small_classifier(num_classes: int):
    """Return a network with the outputs of the classifier, 12 features and fixed random weights."""
    from gan.models.backend import keras

    images = keras.Input((28, 28, 1), name="images")
    brightness = keras.layers.Rescaling(0.5, 0.5)(images)  # black is 0, and adds nothing to the features
    maps = keras.layers.AveragePooling2D(4)(brightness)
    initializer = keras.initializers.GlorotUniform(seed=1)
    features = keras.layers.Dense(12, "relu", kernel_initializer=initializer)(keras.layers.Flatten()(maps))
    logits = keras.layers.Dense(num_classes, kernel_initializer=initializer)(features)
    return keras.Model(images, [features, logits], name="classifier")


def small_extractor(num_classes: int = 3) -> Extractor:
    """Return a feature extractor that consists of `small_classifier`."""
    return Extractor(small_classifier(num_classes), name="small@00000000", sha256="0" * 64)


def put_extractor(store: Store) -> FittedExtractor:
    """Put a small feature extractor into the store, as the stage fit does."""
    from gan.models.networks import save_model

    return FittedExtractor(weights=store.put_file(lambda path: save_model(small_classifier(10), path), ".keras"))


def put_data(store: Store, normalized: np.ndarray) -> NormalizedData:
    """Put images of one class into the store as both splits, as the stage normalize does."""
    images, labels = store.put_array(normalized), store.put_array(np.zeros(len(normalized), np.uint8))
    return NormalizedData(
        dataset="tiny",
        title="Tiny",
        credit="Tiny",
        class_names=("all alike",),
        train_images=images,
        train_labels=labels,
        test_images=images,
        test_labels=labels,
        summary=store.put_json({}),
    )


class Bomb:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@cache
def black_grid() -> bytes:
    """Return a small grid of black images, PNG."""
    return png_bytes(draw_grid(np.zeros((9, 28, 28), np.uint8), 3, scale=1))


def write_run(root: Path, night: int, distance: float | None = 1.2, recall: float | None = 0.55, **more: Any) -> str:
    """Write what pages that list many runs read of a published run; return its name."""
    name = more.pop("name", f"night-{night:03}")
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    first: datetime = more.pop("first", datetime(2026, 10, 1, 3, tzinfo=UTC))
    manifest = {
        "published": (first + timedelta(days=night)).isoformat(),
        "recipe": more.pop("recipe", "conv"),
        "seed": night,
        "device": "CPU",
        "code": {"commit": more.pop("commit", "a" * 40), "modified": more.pop("modified", False)},
        "gate": {
            "passes": more.pop("passes", False),
            "champion": more.pop("champion", "before"),
            "reasons": more.pop("reasons", ["Recall is worse."]),
        },
        "data": {"name": more.pop("dataset", "fashion-mnist"), "sha256": {}},
        "files": [{"path": "generator_average.keras", "sha256": more.pop("generator", f"{night:064}")}],
        "stored": more.pop("stored", []),
        "reference": {"name": more.pop("reference", None)},
    }
    recipe = {
        "name": manifest["recipe"],
        "learning_rate": more.pop("learning_rate", 2e-4),
        "paper": more.pop("paper", "a paper"),
    }
    config = {"train": {"recipe": recipe, "steps": 25_000, "seed": night}, "samples": {"seed": night}, "data": None}
    accuracy, n = more.pop("linear_accuracy", 0.62), more.pop("n", 10_000)
    numbers = {"frechet_distance": distance, "recall": recall, "coverage": 0.88, "two_sample_accuracy": accuracy}
    precision = {"average": more.pop("precision", 0.85), "floor": 0.85, "n": n, "extractor": "cnn"}
    content = {
        "badge": "No better than the champion",
        "verdict": "Easy to tell from real images",
        "metrics": {key: {"average": value, "n": n, "extractor": "cnn"} for key, value in numbers.items()}
        | {"precision": precision},
        "separation": {"accuracy": 0.97},
        "training": {"training_seconds": 60.0},
        **more,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "metrics.json").write_text(json.dumps(content))
    (folder / "config.json").write_text(json.dumps(config))
    for picture in ("average_grid.png", "final_grid.png"):
        (folder / picture).write_bytes(black_grid())
    (folder / "report.html").write_text("<title>The report</title>")
    return name


def article_config(**changes: Any) -> TrainConfig:
    """Return the settings of a training of the article, with changes."""
    return TrainConfig(**{"recipe": ARTICLE, "steps": ARTICLE.steps, "batch_size": ARTICLE.batch_size} | changes)
