"""The stage that normalizes the images of both splits for training."""

from gan.data.catalog import Dataset, Split
from gan.data.idx import decode_split
from gan.data.inspection import LabelledPixels, find_warnings, summarize
from gan.data.pixels import normalize_images
from gan.storage.store import FileRef, Store
from tasks.records import NormalizedData, RawData
from tasks.stage import stage


@stage(run_name="normalize to [-1, 1]", timeout_seconds=1800)
def normalize(store: Store, raw: RawData, dataset: Dataset) -> NormalizedData:
    """Decode, check and normalize both splits; record problems in the data."""

    def read(split: Split, images: FileRef, labels: FileRef) -> LabelledPixels:
        files = (store.path(ref).read_bytes() for ref in (images, labels))
        return LabelledPixels(*decode_split(dataset, split, *files))

    train = read("train", raw.train_images, raw.train_labels)
    test = read("test", raw.test_images, raw.test_labels)
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
