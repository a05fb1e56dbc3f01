"""Stage 2: from IDX files to arrays for training."""

from gan.datasets.catalog import FASHION_MNIST, Split
from gan.datasets.idx import decode_images, decode_labels
from gan.datasets.pixels import normalize_images
from gan.datasets.summary import summarize
from gan.store import Store
from tasks.records import NormalizedData, RawData
from tasks.stage import stage


@stage(run_name="normalize to [-1, 1]", timeout_seconds=1800)
def normalize(store: Store, raw: RawData) -> NormalizedData:
    """Decode, check and normalize both splits."""
    dataset = FASHION_MNIST
    num, num_classes = dataset.num_images, len(dataset.class_names)

    def read(ref_images, ref_labels, split: Split):  # type: ignore[no-untyped-def]
        images = decode_images(store.path(ref_images).read_bytes(), dataset.file(split, "images").name, num[split])
        labels = decode_labels(
            store.path(ref_labels).read_bytes(), dataset.file(split, "labels").name, num[split], num_classes
        )
        return normalize_images(images), labels

    train_images, train_labels = read(raw.train_images, raw.train_labels, "train")
    test_images, test_labels = read(raw.test_images, raw.test_labels, "test")
    summary = {
        "dataset": dataset.name,
        "train": summarize(train_images, train_labels, dataset.class_names),
        "test": summarize(test_images, test_labels, dataset.class_names),
    }
    return NormalizedData(
        dataset=dataset.name,
        train_images=store.put_array(train_images),
        train_labels=store.put_array(train_labels),
        test_images=store.put_array(test_images),
        test_labels=store.put_array(test_labels),
        summary=store.put_json(summary),
    )
