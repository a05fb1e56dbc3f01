"""Checks of a data set before training: errors and warnings."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from builders import smooth_pixels
from sklearn.neighbors import KNeighborsClassifier

from gan.data.catalog import FASHION_MNIST
from gan.data.inspection import LabelledPixels, find_warnings, hash_images, refuse_unusable
from gan.data.pixels import normalize_images
from gan.data.sources import fetch_splits
from gan.errors import DataError
from gan.judging.classifier import check_accuracy, pixel_neighbour_accuracy
from gan.judging.split_inspection import check_splits

NAMES = tuple("abcdef")
Both = tuple[LabelledPixels, LabelledPixels]


def good(num_train: int = 600, num_test: int = 300) -> Both:
    """Return two splits of six classes with equal shares and only different images."""
    train, test = (
        LabelledPixels(smooth_pixels(num, seed), (np.arange(num) % 6).astype(np.uint8))
        for seed, num in enumerate((num_train, num_test))
    )
    return train, test


def with_pixels(change: Callable[[np.ndarray], np.ndarray], *, train: bool = True, test: bool = True) -> Both:
    """Return good splits with changed pixels."""
    return tuple(  # type: ignore[return-value]
        part._replace(pixels=change(part.pixels).astype(np.uint8)) if wanted else part
        for part, wanted in zip(good(), (train, test), strict=True)
    )


def with_labels(change: Callable[[np.ndarray], np.ndarray], *, train: bool = True, test: bool = True) -> Both:
    """Return good splits with changed labels."""
    return tuple(  # type: ignore[return-value]
        part._replace(labels=change(part.labels).astype(np.uint8)) if wanted else part
        for part, wanted in zip(good(), (train, test), strict=True)
    )


def with_shared(num: int) -> Both:
    """Return splits whose first `num` test images are training images."""
    train, test = good()
    return train, test._replace(pixels=np.concatenate([train.pixels[:num], test.pixels[num:]]))


def first(num: int, value: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that replaces the first images or labels by one value."""

    def change(array: np.ndarray) -> np.ndarray:
        changed = array.copy()
        changed[:num] = value
        return changed

    return change


def repeated(num: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that keeps only `num` different images."""
    return lambda pixels: pixels[np.arange(len(pixels)) % num]


def as_signed(pixels: np.ndarray) -> np.ndarray:
    """Return numbers from -1 to 1, rounded and written as bytes."""
    return np.rint(pixels / 127.5 - 1).astype(np.int8).view(np.uint8)


def with_one_bright_pixel(pixels: np.ndarray) -> np.ndarray:
    dim = (pixels > 40).astype(np.uint8) * (pixels % 7 + 1)
    dim[0, 0, 0] = 255
    return dim


def test_good_data_causes_no_error_and_no_warning() -> None:
    train, test = good()
    refuse_unusable(train, test, NAMES)
    refuse_unusable(train, test, ())
    assert find_warnings(train, test, NAMES) == ()


@pytest.mark.real_data
def test_fashion_mnist_causes_no_error_and_no_warning(real_data_dir) -> None:
    train, test = (LabelledPixels(*split) for split in fetch_splits(FASHION_MNIST, data_dir=real_data_dir))
    refuse_unusable(train, test, FASHION_MNIST.class_names)
    assert find_warnings(train, test, FASHION_MNIST.class_names) == ()


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (with_pixels(lambda pixels: pixels > 40), r"only the grey levels 0 and 1; .*\nMultiply all pixels by 255"),
        (with_pixels(lambda pixels: pixels // 16), r"contrast of 15 grey levels .*\nMap the grey levels 0 to 14 "),
        (
            with_pixels(lambda pixels: 200 + pixels // 12),
            r"\nMap the grey levels 200 to 2\d\d .* to 0 to 255, in floating point, and clip",
        ),
        (with_pixels(with_one_bright_pixel), r"A typical image in train-images-idx3-ubyte has a contrast of \d grey"),
        (
            with_pixels(lambda pixels: pixels // 16, train=False),
            "typical image in t10k-images-idx3-ubyte has a contras",
        ),
        (with_pixels(as_signed), r"only the grey levels 0, 1 and 255.\nNumbers of -1 to 1"),
        (with_pixels(lambda pixels: pixels * 0), "holds the same image 600 times"),
        (with_pixels(first(300, 9)), "300 of 600 images in train-images-idx3-ubyte are blank"),
        (with_pixels(repeated(49)), "holds 600 images, but only 49 different ones; expected 50 or more"),
        (with_shared(150), "150 of 300 test images are also training images"),
    ],
)
def test_unusable_pixels_are_refused_with_figures_and_advice(splits: Both, message: str) -> None:
    with pytest.raises(DataError, match=message):
        refuse_unusable(*splits, NAMES)


@pytest.mark.parametrize(
    ("splits", "names", "message"),
    [
        (
            with_labels(lambda labels: labels + 1),
            NAMES,
            "holds label 6; .* 6 class names. .*1 to 6.\nLabels must start at 0; ",
        ),
        (with_labels(lambda labels: labels + 1, train=False), NAMES, "^t10k-labels-idx1-ubyte holds label 6"),
        (with_labels(lambda labels: labels + 48), NAMES, "labels are 48 to 53.\n.* Subtract 48 from all labels"),
        (with_labels(first(1, 200)), NAMES, "labels are 0 to 200.\nNumber the classes from 0 on without gaps"),
        (with_labels(first(1, 100)), (), "holds label 100; expected 0 to 99, for at most 100 classes"),
        (with_labels(lambda labels: labels * 0 + 4), (), "has no label but 4; expected 2 to 100 classes"),
        (with_labels(lambda labels: labels * 0, test=False), NAMES, "The training split has no label but 0"),
    ],
)
def test_unusable_labels_are_refused_with_figures_and_advice(
    splits: Both, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        refuse_unusable(*splits, names)
    assert "altered" not in str(caught.value)


@pytest.mark.parametrize(
    ("splits", "warning"),
    [
        (with_pixels(lambda pixels: pixels // 3, test=False), "train-images-idx3-ubyte has a contrast of 8"),
        (with_pixels(first(7, 0), test=False), "7 of 600 training images are blank"),
        (with_pixels(repeated(560), test=False), "40 of 600 training images repeat another image"),
        (with_shared(4), "4 of 300 test images are also training images"),
        (
            with_labels(lambda labels: labels % 5 + 1),
            r"Labels start at 1, .* 1 of 6 classes \(a\). If they were counted",
        ),
        (with_labels(lambda labels: labels % 3 + 3), r"start at 3, .* 3 of 6 classes \(a, b, c\). Subtract 3 from"),
        (
            with_labels(lambda labels: labels % 2 * 5),
            r"No training images for 4 of 6 classes \(b, c, d, e\). Such",
        ),
        (with_labels(lambda labels: labels % 5, test=False), r"for 1 of 6 classes \(f\) \(but 50 test images\)"),
        (with_labels(lambda labels: labels % 5, train=False), r"No test images for 1 of 6 classes \(f\)"),
        (good(num_test=110), r"Fewer than 20 test images for 6 of 6 classes .*; the smallest class has 18"),
        (with_labels(first(510, 1)), r"Fewer than 20 training images for 5 of 6 classes .*; the smallest class has 15"),
        (with_labels(first(200, 1), train=False), r"different class shares: \d+ % .* another class \(b is 16.7 %"),
        (
            with_pixels(lambda pixels: pixels // 2 + 60, test=False),
            "The splits differ in brightness: .* Make both splits",
        ),
        (with_pixels(lambda pixels: 255 - pixels, train=False), "in brightness: .* One split looks inverted"),
    ],
)
def test_suspicious_data_causes_a_warning_with_figures(splits: Both, warning: str) -> None:
    found = find_warnings(*splits, NAMES)
    assert any(re.search(warning, text) for text in found), found
    assert all("\n" not in text for text in found)


@pytest.mark.parametrize(
    "splits",
    [
        with_pixels(lambda pixels: pixels * 0.6),
        with_pixels(lambda pixels: (pixels > 40) * 255),
        with_pixels(lambda pixels: 255 - pixels),
        with_pixels(first(3, 0), test=False),
        with_pixels(repeated(575), test=False),
        with_shared(3),
        with_labels(lambda labels: np.sort(labels)),
        with_labels(first(20, 1), train=False),
    ],
)
def test_plausible_data_causes_no_warning(splits: Both) -> None:
    refuse_unusable(*splits, NAMES)
    assert find_warnings(*splits, NAMES) == ()


def test_a_warning_names_at_most_five_classes() -> None:
    (text,) = find_warnings(*good(), (*NAMES, *(f"class {number}" for number in range(9))))
    assert "for 9 of 15 classes (class 0, class 1, class 2, class 3, class 4 and 4 more)" in text


@pytest.mark.parametrize("num", [100, 2000])
def test_two_random_halves_of_one_data_set_do_not_differ(num) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pixels, labels = smooth_pixels(2 * num, seed), rng.integers(0, 6, 2 * num).astype(np.uint8)
        one, other = (LabelledPixels(pixels[rows], labels[rows]) for rows in rng.permutation(2 * num).reshape(2, num))
        assert not [text for text in find_warnings(one, other, NAMES) if "differ" in text]


def test_equal_images_have_equal_hashes_and_different_images_different_ones() -> None:
    pixels = smooth_pixels(50, 0)
    pixels[20] = pixels[7]
    digests = hash_images(pixels)
    assert len(set(digests.tolist())) == 49
    assert digests[20] == digests[7]


def test_test_images_that_are_mirrored_or_moved_training_images_cause_a_warning() -> None:
    """Equal ones are reported by `find_warnings`."""
    train, test = (np.random.default_rng(seed).integers(0, 256, (200, 28, 28), dtype=np.uint8) for seed in (0, 1))
    assert check_splits(train, test) == ()
    test[:2] = train[:2]
    assert check_splits(train, test) == ()
    test[10:20], test[20:30] = train[:10, :, ::-1], np.roll(train[10:20], 1, axis=2)
    (text,) = check_splits(train, test)
    assert " of 200 test images are training images that were mirrored or moved by a pixel. The check for near" in text
    assert 18 <= int(text.split()[0]) <= 20
    test[:110] = train[:110, :, ::-1]
    (text,) = check_splits(train, test)
    assert "no run will pass the gate" in text


def test_a_classifier_hardly_better_than_guessing_causes_a_warning_about_labels() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    shuffled = np.random.default_rng(0).permutation(labels)
    (text,) = check_accuracy(shuffled, 0.4, labels)
    assert "in the same order in both splits" in text
    assert "test images; random guesses with the same class shares would be right for 38 %" in text
    (text,) = check_accuracy(np.zeros(100, int), 0.5, labels)
    assert (
        "right for 50 % of 100 test images; random guesses with the same class shares would be right for 50 %" in text
    )
    assert check_accuracy(of_accuracy(0.5, labels), 0.5, labels) == ()
    assert check_accuracy(of_accuracy(0.9, np.zeros(100, int)), 0.5, np.zeros(100, int)) == (), "there is one class"


def test_a_classifier_that_finds_half_of_a_rare_class_causes_no_warning() -> None:
    """It is right for 97.3 % of the test images; the commonest class alone is 97 %."""
    labels = np.repeat([0, 1], [970, 30])
    predicted = np.where(np.isin(np.arange(1000), [*range(12), *range(985, 1000)]), 1 - labels, labels)
    assert check_accuracy(predicted, 0.97, labels) == ()


def of_accuracy(share: float, labels: np.ndarray) -> np.ndarray:
    """Return labels of which a share is right, evenly spaced; the others are off by one."""
    right = np.floor(share * np.arange(1, len(labels) + 1)) > np.floor(share * np.arange(len(labels)))
    return np.where(right, labels, (labels + 1) % 10)


def test_a_classifier_that_is_worse_than_the_nearest_image_causes_a_warning() -> None:
    labels = np.arange(1000) % 10
    (text,) = check_accuracy(of_accuracy(0.63, labels), 0.75, labels)
    assert "right for 63 % of 1,000 test images; the training image that is nearest in its pixels" in text
    assert "75 %" in text
    assert "--extractor-epochs" in text
    (text,) = check_accuracy(of_accuracy(0.12, labels), 0.75, labels)
    assert "--extractor-epochs" in text, "the pixels show that the labels are in order"
    assert check_accuracy(of_accuracy(0.74, labels), 0.75, labels) == (), "within the noise of the test images"
    assert check_accuracy(of_accuracy(0.999, labels), 1.0, labels) == ()


def test_the_accuracy_of_the_nearest_image_equals_that_of_sklearn(monkeypatch) -> None:
    images, test_images = (normalize_images(smooth_pixels(n, seed)) for n, seed in ((300, 0), (80, 1)))
    labels, test_labels = (
        each.mean(axis=(1, 2, 3)) > np.median(images.mean(axis=(1, 2, 3))) for each in (images, test_images)
    )
    known = KNeighborsClassifier(1).fit(images.reshape(300, -1), labels)
    expected = known.score(test_images.reshape(80, -1), test_labels)
    monkeypatch.setattr("gan.judging.classifier.MAX_EVALUATED", 33)
    assert pixel_neighbour_accuracy(images, labels, test_images, test_labels) == pytest.approx(expected)
