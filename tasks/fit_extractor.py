"""The feature extractor that images are compared by: shipped for known data sets, fitted here for others."""

from gan.config import Device
from gan.errors import StoreError
from gan.judging.features import SHIPPED_SHA256, shipped_weights
from gan.storage.store import Store
from tasks.records import FittedExtractor, NormalizedData
from tasks.stage import stage


def get_extractor(store: Store, data: NormalizedData, epochs: int | None, device: Device) -> FittedExtractor:
    """Return the feature extractor for a data set; `epochs` applies if it is fitted here.

    Raises:
        StoreError: If shipped weights are missing or were altered.
    """
    if data.dataset not in SHIPPED_SHA256:
        return fit_extractor(store, data, epochs, device)
    path = shipped_weights(data.dataset)
    weights = store.put_bytes(path.read_bytes() if path.is_file() else b"", ".keras")
    if weights.sha256 != SHIPPED_SHA256[data.dataset]:
        raise StoreError(
            f"{path} is not the feature extractor that belongs to this code: SHA-256 {weights.sha256}, "
            f"expected {SHIPPED_SHA256[data.dataset]}.\nGet the file again (git checkout)."
        )
    store.share([weights])  # a GPU worker may share no folder
    return FittedExtractor(weights=weights)


@stage(
    run_name="fit a feature extractor for {data.title}",
    timeout_seconds=6 * 3600,
    incidental=("device",),
    reads={"data": ("train_images", "train_labels", "test_images", "test_labels", "num_classes")},
)
def fit_extractor(store: Store, data: NormalizedData, epochs: int | None, device: Device) -> FittedExtractor:
    """Fit a classifier on the training split, and evaluate it on the test split, after a check of both splits."""
    from gan.data.pixels import denormalize_images
    from gan.judging.classifier import check_accuracy, fit_classifier, pixel_neighbour_accuracy, predict
    from gan.judging.split_inspection import check_splits
    from gan.models.backend import use_device
    from gan.models.networks import save_model

    use_device(device)
    images, labels = store.load_array(data.train_images), store.load_array(data.train_labels)
    test_images, test_labels = store.load_array(data.test_images), store.load_array(data.test_labels)
    of_splits = check_splits(denormalize_images(images), denormalize_images(test_images))
    classifier = fit_classifier(images, labels, data.num_classes, seed=0, epochs=epochs)
    predicted = predict(classifier, test_images)
    share = float((predicted == test_labels).mean())
    by_pixels = pixel_neighbour_accuracy(images, labels, test_images, test_labels)
    return FittedExtractor(
        weights=store.put_file(lambda path: save_model(classifier, path), ".keras"),
        warnings=of_splits + check_accuracy(predicted, by_pixels, test_labels),
        facts={"test_accuracy": round(share, 4), "pixel_neighbour_accuracy": round(by_pixels, 4)},
    )
