"""Stage 2: from IDX files to arrays for training."""

from prefect.logging import get_run_logger

from gan.data.catalog import Dataset, Split
from gan.data.idx import decode_images, decode_labels
from gan.data.inspection import LabelledPixels, find_warnings
from gan.data.pixels import normalize_images
from gan.data.summary import summarize
from gan.storage.store import FileRef, Store
from tasks.records import FittedExtractor, NormalizedData, RawData
from tasks.stage import stage


@stage(run_name="normalize to [-1, 1]", timeout_seconds=1800)
def normalize(store: Store, raw: RawData, dataset: Dataset) -> NormalizedData:
    """Decode, check and normalize both splits; note what looks wrong."""
    train = _read_split(store, dataset, "train", raw.train_images, raw.train_labels)
    test = _read_split(store, dataset, "test", raw.test_images, raw.test_labels)
    warnings = find_warnings(train, test, dataset.class_names)
    train_images, test_images = normalize_images(train.pixels), normalize_images(test.pixels)
    summary = {
        "dataset": dataset.name,
        "train": summarize(train_images, train.labels, dataset.class_names),
        "test": summarize(test_images, test.labels, dataset.class_names),
        "warnings": list(warnings),
    }
    return NormalizedData(
        dataset=dataset.name,
        title=dataset.title,
        credit=dataset.credit,
        class_names=dataset.class_names,
        train_images=store.put_array(train_images),
        train_labels=store.put_array(train.labels),
        test_images=store.put_array(test_images),
        test_labels=store.put_array(test.labels),
        summary=store.put_json(summary),
        warnings=warnings,
    )


def log_warnings(record: NormalizedData | FittedExtractor) -> None:
    """Write to the run's log what looks wrong in the data, whether the stage ran or was cached."""
    for warning in record.warnings:
        get_run_logger().warning("Data: %s", warning)


def _read_split(store: Store, dataset: Dataset, split: Split, images: FileRef, labels: FileRef) -> LabelledPixels:
    num = dataset.num_images[split]
    pixels = decode_images(store.path(images).read_bytes(), dataset.file(split, "images").name, num)
    classes = decode_labels(
        store.path(labels).read_bytes(), dataset.file(split, "labels").name, num, len(dataset.class_names)
    )
    return LabelledPixels(pixels, classes)
