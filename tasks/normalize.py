"""Stage 2: from IDX files to arrays for training."""

import numpy as np

from gan.datasets.catalog import Dataset, Split
from gan.datasets.idx import decode_images, decode_labels
from gan.datasets.pixels import normalize_images
from gan.datasets.summary import summarize
from gan.store import FileRef, Store
from tasks.records import NormalizedData, RawData
from tasks.stage import stage


@stage(run_name="normalize to [-1, 1]", timeout_seconds=1800)
def normalize(store: Store, raw: RawData, dataset: Dataset) -> NormalizedData:
    """Decode, check and normalize both splits."""
    train_images, train_labels = _read_split(store, dataset, "train", raw.train_images, raw.train_labels)
    test_images, test_labels = _read_split(store, dataset, "test", raw.test_images, raw.test_labels)
    summary = {
        "dataset": dataset.name,
        "train": summarize(train_images, train_labels, dataset.class_names),
        "test": summarize(test_images, test_labels, dataset.class_names),
    }
    return NormalizedData(
        dataset=dataset.name,
        title=dataset.title,
        credit=dataset.credit,
        class_names=dataset.class_names,
        train_images=store.put_array(train_images),
        train_labels=store.put_array(train_labels),
        test_images=store.put_array(test_images),
        test_labels=store.put_array(test_labels),
        summary=store.put_json(summary),
    )


def _read_split(
    store: Store, dataset: Dataset, split: Split, images: FileRef, labels: FileRef
) -> tuple[np.ndarray, np.ndarray]:
    """Normalized images, float32 (n, 28, 28, 1), and labels, uint8 (n,)."""
    num = dataset.num_images[split]
    pixels = decode_images(store.path(images).read_bytes(), dataset.file(split, "images").name, num)
    classes = decode_labels(
        store.path(labels).read_bytes(), dataset.file(split, "labels").name, num, len(dataset.class_names)
    )
    return normalize_images(pixels), classes
