"""Metrics of modified real images with known faults, computed with the shipped weights."""

import numpy as np
import pytest

from gan.data.catalog import FASHION_MNIST
from gan.data.idx import decode_images, decode_labels
from gan.judging.definitions import METRICS
from gan.judging.features import SHIPPED_SHA256, Extractor, shipped_weights
from gan.judging.judge import Judge

pytestmark = pytest.mark.real_data

N = 450
TROUSER = 1


@pytest.fixture(scope="module")
def splits(real_data_dir) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training images, and test images with their labels."""
    files = {(file.split, file.kind): (real_data_dir / file.name).read_bytes() for file in FASHION_MNIST.files}
    return (
        decode_images(files["train", "images"], "train", 60_000),
        decode_images(files["test", "images"], "test", 10_000),
        decode_labels(files["test", "labels"], "test", 10_000, 10),
    )


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    name = FASHION_MNIST.name
    return Extractor.load(shipped_weights(name), name, SHIPPED_SHA256[name])


@pytest.fixture(scope="module")
def found(extractor, splits) -> dict[str, dict[str, float]]:
    """All metrics of each set, made from one half of the test split, compared with the other half."""
    train, test, labels = splits
    judge = Judge(extractor, train, test[:5000], n=N, seed=0)
    real, rng = test[5000 : 5000 + N], np.random.default_rng(0)
    sprinkled = real.copy()
    salt, pepper = rng.random((2, *real.shape)) < 0.02
    sprinkled[salt], sprinkled[pepper] = 255, 0
    sets = {
        "real": real,
        "salt and pepper": sprinkled,
        "noise": rng.integers(0, 256, real.shape, dtype=np.uint8),
        "copies": train[rng.choice(len(train), N, replace=False)],
        "one class": test[5000:][labels[5000:] == TROUSER][:N],
        "one image": np.repeat(real[:1], N, axis=0),
        "a third is one image": np.concatenate([np.repeat(real[:1], N // 3, axis=0), real[N // 3 :]]),
    }
    return {
        name: {metric.name: metric.measure(judge.examine(pixels)) for metric in METRICS}
        for name, pixels in sets.items()
    }


def test_the_classifier_is_right_for_93_percent_of_the_test_images(extractor, splits) -> None:
    _, test, labels = splits
    assert (extractor.features(test).classes == labels).mean() >= 0.93


def test_held_out_real_images_are_indistinguishable_from_real_ones_and_no_copies(found) -> None:
    real = found["real"]
    assert real["two_sample_accuracy"] == pytest.approx(0.5, abs=0.05)
    assert real["near_copies"] < 0.03
    assert real["nearest_training_image"] == pytest.approx(1, abs=0.1)
    assert min(real[name] for name in ("precision", "recall", "coverage")) > 0.8


@pytest.mark.parametrize("name", ["frechet_distance", "kernel_distance"])
def test_pure_noise_has_the_largest_distance_of_all_faults(found, name) -> None:
    order = ["real", "salt and pepper", "one class", "noise"]
    assert [found[each][name] for each in order] == sorted(found[each][name] for each in order)
    assert found["one image"][name] < found["noise"][name]


@pytest.mark.parametrize("name", ["frechet_distance", "kernel_distance", "two_sample_accuracy", "total_variation"])
def test_distances_increase_with_noise(found, name) -> None:
    assert found["real"][name] < found["salt and pepper"][name] < found["noise"][name] + 1e-9


def test_noise_has_no_precision_and_no_coverage(found) -> None:
    assert found["noise"]["precision"] < 0.05
    assert found["noise"]["coverage"] < 0.05
    assert found["salt and pepper"]["precision"] < found["real"]["precision"]


def test_copies_of_training_images_are_detected_although_other_metrics_are_as_good_as_real(found) -> None:
    assert found["copies"]["near_copies"] == 1
    assert found["copies"]["nearest_training_image"] == 0
    assert found["copies"]["frechet_distance"] < 2 * found["real"]["frechet_distance"]


def test_a_single_class_has_precision_without_recall_and_is_no_copy(found) -> None:
    one, real = found["one class"], found["real"]
    assert one["precision"] > 0.8
    assert one["recall"] < 0.3
    assert one["class_entropy"] < 0.5 < 3 < real["class_entropy"]
    assert one["near_copies"] < 0.04


def test_only_near_duplicates_detect_that_a_third_of_the_images_are_one_image(found) -> None:
    third, real = found["a third is one image"], found["real"]
    assert 0.33 <= third["near_duplicates"] < 0.4
    assert real["near_duplicates"] < 0.04
    assert found["one image"]["near_duplicates"] == 1
    for name in ("precision", "recall", "coverage"):
        assert third[name] > 0.9 * real[name]


def test_a_collapse_to_one_image_has_no_diversity(found) -> None:
    one = found["one image"]
    assert one["class_entropy"] == 0
    assert one["recall"] < 0.01
    assert one["coverage"] < 0.05
