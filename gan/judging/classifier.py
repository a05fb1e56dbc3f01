"""A small convolutional classifier whose hidden layers are the features that images are compared by.

Command that fits the weights that are part of the code:

    python -m gan.classifier --out features.fashion-mnist.keras
"""

import logging
from collections.abc import Callable

import numpy as np

from gan.data.pixels import IMAGE_SIZE
from gan.models.backend import keras, tf
from gan.system.progress import progress

WIDTH, HIDDEN = 24, 64
TEXTURE_WEIGHT = 0.3
EPOCHS, MIN_STEPS = 12, 1000
BATCH_SIZE = 128
PEAK_LEARNING_RATE = 3e-3
DROPOUT = 0.25
MAX_SHIFT = 1
MAX_EVALUATED, MAX_BASELINE = 500, 2000
MAX_PRODUCTS = 30_000_000
"""Products of images that are computed at once: 240 MB."""
LEAST_GAP = 0.02
"""Accuracy by which a classifier may be below the nearest image without a warning."""

MIN_KAPPA = 0.1
"""Cohen's kappa below which there is a warning. It is 0.93 for the shipped one, about 0 with shuffled labels."""

log = logging.getLogger(__name__)


def build_classifier(num_classes: int) -> keras.Model:
    """Build a classifier that maps images to features and logits.

    Images, float32 (n, 28, 28, 1) in [-1, 1], pass five 3 x 3 convolutions, each with BatchNormalization and ReLU,
    three max poolings and a hidden layer. Logits are float32 (n, num_classes).

    Features, float32 (n, 2 WIDTH + HIDDEN), are the spatial means of the second convolution's maps, which respond to
    texture and noise, and the hidden layer, which responds to garments. Each feature is standardized by its moving mean
    and variance over training images. Texture features are weighted by 0.3: with more weight the distances measure
    mainly noise; with less, images of pure noise are no worse than images of one class (figures: docs/judging.md).
    """
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1), name="images")
    maps, texture = images, None
    for index, (width, pool) in enumerate([(1, True), (2, False), (2, True), (4, False), (4, True)]):
        maps = keras.layers.Conv2D(width * WIDTH, 3, padding="same", use_bias=False, name=f"conv_{index}")(maps)
        maps = keras.layers.BatchNormalization(name=f"batch_norm_{index}")(maps)
        maps = keras.layers.ReLU(name=f"relu_{index}")(maps)
        if index == 1:  # the second convolution
            texture = keras.layers.GlobalAveragePooling2D(name="texture")(maps)
        if pool:
            maps = keras.layers.MaxPooling2D(name=f"pool_{index}")(maps)
    hidden = keras.layers.Dense(HIDDEN, use_bias=False, name="hidden")(keras.layers.Flatten(name="flat")(maps))
    hidden = keras.layers.ReLU(name="hidden_relu")(keras.layers.BatchNormalization(name="hidden_batch_norm")(hidden))
    weighted = keras.layers.Rescaling(TEXTURE_WEIGHT, name="texture_weight")(_standardize(texture, "texture"))
    features = keras.layers.Concatenate(name="features")([weighted, _standardize(hidden, "hidden")])
    dropped = keras.layers.Dropout(DROPOUT, seed=0, name="dropout")(hidden)
    return keras.Model(images, [features, keras.layers.Dense(num_classes, name="logits")(dropped)], name="classifier")


def _standardize(values: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(center=False, scale=False, name=f"standardized_{name}")(values)


def fit_classifier(
    images: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    seed: int,
    epochs: int | None = None,
    build: Callable[[int], keras.Model] = build_classifier,
) -> keras.Model:
    """Fit a classifier with Adam on the cross-entropy, with one epoch of warm-up and cosine decay.

    It takes EPOCHS epochs, or more for small sets, which need MIN_STEPS steps: fitted on 1,000 images of Fashion-MNIST,
    it is right for 64 % of test images after 300 steps and for 86 % after 1,000 (the nearest image: 75 %).

    Args:
        images: float32, shape (n, 28, 28, 1), values in [-1, 1].
        labels: int, shape (n,), in [0, num_classes).
        num_classes: Number of classes.
        seed: Seeds weights, order, flips and shifts. Equal seeds give equal bytes only if the processor adds up
            convolutions in a fixed order; otherwise accuracies differ by a few tenths of a percentage point.
        epochs: Passes over the images; None for EPOCHS, or more if they have fewer than MIN_STEPS steps.
        build: Builds the network, with features and logits as outputs, given the number of classes.
    """
    keras.utils.set_random_seed(seed)
    classifier = build(num_classes)
    batch_size = min(BATCH_SIZE, len(images))
    steps = len(images) // batch_size
    epochs = epochs or max(EPOCHS, -(-MIN_STEPS // steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, (epochs - 1) * steps), warmup_target=PEAK_LEARNING_RATE, warmup_steps=steps
    )
    optimizer = keras.optimizers.Adam(schedule)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function(autograph=False)
    def step(batch_images: tf.Tensor, batch_labels: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            _, logits = classifier(batch_images, training=True)
            loss = loss_of(batch_labels, logits)
        optimizer.apply(tape.gradient(loss, classifier.trainable_variables), classifier.trainable_variables)

    optimizer.build(classifier.trainable_variables)
    rng = np.random.default_rng(seed)
    with progress("Fitting the feature extractor", epochs * steps, unit="steps") as update:
        for epoch in range(epochs):
            order = rng.permutation(len(images))
            for index in range(steps):
                rows = order[index * batch_size : (index + 1) * batch_size]
                step(tf.constant(flip_and_shift(images[rows], rng)), tf.constant(labels[rows].astype(np.int32)))
                update(epoch * steps + index + 1, f"epoch {epoch + 1} of {epochs}")
    return classifier


def flip_and_shift(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror images, float32 (n, 28, 28, 1), at random and shift them by up to MAX_SHIFT pixels, with black padding."""
    flipped = np.where(rng.random((len(images), 1, 1, 1)) < 0.5, images[:, :, ::-1], images)
    margin = (0, 0), (MAX_SHIFT, MAX_SHIFT), (MAX_SHIFT, MAX_SHIFT), (0, 0)
    padded = np.pad(flipped, margin, constant_values=-1)
    down, across = rng.integers(0, 2 * MAX_SHIFT + 1, (2, len(images)))
    rows, columns = np.arange(IMAGE_SIZE) + down[:, np.newaxis], np.arange(IMAGE_SIZE) + across[:, np.newaxis]
    index = np.arange(len(images))[:, np.newaxis, np.newaxis]
    return np.asarray(padded[index, rows[:, :, np.newaxis], columns[:, np.newaxis, :]])


def predict(classifier: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the predicted labels, int (n,), of images, float32 (n, 28, 28, 1)."""
    starts = range(0, len(images), MAX_EVALUATED)
    logits = (classifier(images[start : start + MAX_EVALUATED], training=False)[1] for start in starts)
    return np.concatenate([np.asarray(batch).argmax(axis=1) for batch in logits])


def accuracy(classifier: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of images, float32 (n, 28, 28, 1), whose predicted class is their label."""
    return float((predict(classifier, images) == labels).mean())


def pixel_neighbour_accuracy(
    images: np.ndarray, labels: np.ndarray, test_images: np.ndarray, test_labels: np.ndarray
) -> float:
    """Return how often the training image that is nearest in its pixels has the class of a test image.

    This is the nearest-neighbour rule (Cover and Hart 1967), a simple baseline for a classifier. It is measured on
    MAX_BASELINE test images, evenly spaced.

    Args:
        images: float32, shape (n, 28, 28, 1).
        labels: int, shape (n,).
        test_images: float32, shape (m, 28, 28, 1).
        test_labels: int, shape (m,).
    """
    rows = np.linspace(0, len(test_images) - 1, min(len(test_images), MAX_BASELINE)).astype(int)
    references = np.asarray(images).reshape(len(images), -1)
    half_norms = np.einsum("ij,ij->i", references, references) / 2
    right = 0
    num_at_once = max(1, MAX_PRODUCTS // len(references))
    for start in range(0, len(rows), num_at_once):
        block = rows[start : start + num_at_once]
        queries = np.asarray(test_images[block]).reshape(len(block), -1)
        nearest = (queries @ references.T - half_norms).argmax(axis=1)  # argmin |x - y|^2 = argmax x.y - |y|^2 / 2
        right += int((labels[nearest] == test_labels[block]).sum())
    return right / len(rows)


def check_accuracy(predicted: np.ndarray, by_pixels: float, labels: np.ndarray) -> tuple[str, ...]:
    """Return a warning if a classifier is hardly better than guessing, or worse than `by_pixels`.

    Guessing is to give each class as often as the classifier does, but at random. Accuracies are compared with it by
    the kappa of Cohen 1960, which is 0 for guessing and 1 for a classifier without errors. Accuracy alone says little
    if classes are unequal: where one class has 97 % of the images, a good classifier is hardly more often right than
    one that gives this class to every image.

    Args:
        predicted: int, shape (n,), classes that the classifier gives to test images.
        by_pixels: `pixel_neighbour_accuracy`.
        labels: int, shape (n,), of the test images.
    """
    accuracy = float((predicted == labels).mean())
    classes = np.unique(labels)
    by_guessing = float(sum((predicted == label).mean() * (labels == label).mean() for label in classes))
    found = (
        f"The classifier that was fitted on the training images is right for {100 * accuracy:.3g} % of {len(labels):,} "
        "test images"
    )
    standard_error = (by_pixels * (1 - by_pixels) / min(len(labels), MAX_BASELINE)) ** 0.5
    if by_pixels - accuracy > max(LEAST_GAP, 2 * standard_error):
        return (
            f"{found}; the training image that is nearest in its pixels has the right class for "
            f"{100 * by_pixels:.3g} %. Features of such a classifier judge worse than the pixels themselves. Fit it "
            "for longer (--extractor-epochs), or give more training images. If classes differ only by left and right, "
            "the classifier cannot distinguish them: it is also fitted on mirrored images.",
        )
    if len(classes) > 1 and accuracy - by_guessing < MIN_KAPPA * (1 - by_guessing):
        return (
            f"{found}; random guesses with the same class shares would be right for {100 * by_guessing:.3g} %. "
            "Features of such a classifier measure little. Check that images and labels are in the same order in both "
            "splits.",
        )
    return ()
