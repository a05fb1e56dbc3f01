"""Near copies and relative distances: copies are found, and unseen images are no copies."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from gan.judging.metrics.memorization import relative_to_other_images, relative_to_test


def split_of_two_classes(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw equal numbers of points from a narrow class 0 and a wide class 1; return them with their classes."""
    classes = np.arange(n) % 2
    noise = np.random.default_rng(seed).normal(size=(n, 5)) * np.where(classes, 1.0, 0.1)[:, np.newaxis]
    return (4 * np.eye(5)[classes] + noise).astype(np.float32), classes


@pytest.fixture
def memorized():
    """A function that returns the median relative distance and the share of near copies."""
    train, _ = split_of_two_classes(seed=0, n=4000)
    test, test_classes = split_of_two_classes(seed=1, n=4000)
    index = NearestNeighbors(n_neighbors=1).fit(train)
    test_distances = index.kneighbors(test)[0][:, 0]

    def judge(points: np.ndarray, classes: np.ndarray, *, by_class: bool = True) -> tuple[float, float]:
        distances = index.kneighbors(points)[0][:, 0]
        seen, seen_test = (classes, test_classes) if by_class else (np.zeros_like(classes), np.zeros_like(test_classes))
        relative, near_copy = relative_to_test(distances, seen, test_distances, seen_test)
        return float(np.median(relative)), float(near_copy.mean())

    return judge


def test_copies_of_training_images_are_detected(memorized) -> None:
    train, classes = split_of_two_classes(seed=0, n=4000)
    assert memorized(train[:500], classes[:500]) == (0, 1)


def test_slightly_noisy_copies_are_still_much_nearer_than_unseen_images(memorized) -> None:
    train, classes = split_of_two_classes(seed=0, n=4000)
    noise = np.random.default_rng(2).normal(size=train.shape) * np.where(classes, 0.05, 0.005)[:, np.newaxis]
    median, _ = memorized((train + noise).astype(np.float32), classes)
    assert median < 0.5


def test_unseen_real_images_are_no_copies(memorized) -> None:
    median, near_copies = memorized(*split_of_two_classes(seed=2, n=4000))
    assert median == pytest.approx(1, abs=0.05)
    assert near_copies == pytest.approx(0.01, abs=0.006)


def test_a_generator_of_one_narrow_class_is_not_mistaken_for_a_copying_one(memorized) -> None:
    points, classes = split_of_two_classes(seed=2, n=4000)
    narrow = classes == 0
    median, near_copies = memorized(points[narrow], classes[narrow])
    assert median == pytest.approx(1, abs=0.05)
    assert near_copies == pytest.approx(0.01, abs=0.008)
    median, _ = memorized(points[narrow], classes[narrow], by_class=False)
    assert median < 0.5, "without classes it looks like a copying generator"


def test_images_of_a_class_without_test_images_are_compared_with_all_classes() -> None:
    relative, near_copy = relative_to_test(
        np.array([2.0, 0.0]), np.array([7, 7]), np.array([1.0, 2.0, 3.0]), np.array([0, 1, 1])
    )
    np.testing.assert_array_equal(relative, [1, 0])
    np.testing.assert_array_equal(near_copy, [False, True])


def test_if_all_test_images_are_training_images_copies_are_detected_and_distances_are_not_defined() -> None:
    relative, near_copy = relative_to_test(np.array([0.0, 1]), np.zeros(2, int), np.zeros(5), np.zeros(5, int))
    assert np.isnan(relative).all()
    np.testing.assert_array_equal(near_copy, [True, False])


def test_if_test_images_of_a_class_are_training_images_the_median_of_all_classes_is_used() -> None:
    test_distances, test_classes = np.array([0.0, 0, 0, 2, 2, 2, 2]), np.array([0, 0, 0, 1, 1, 1, 1])
    relative, near_copy = relative_to_test(np.array([1.0, 0]), np.zeros(2, int), test_distances, test_classes)
    np.testing.assert_array_equal(relative, [0.5, 0])
    np.testing.assert_array_equal(near_copy, [False, True])


@pytest.mark.parametrize("r", [10, 100])
def test_the_share_of_near_copies_has_the_documented_bias(r) -> None:
    rng, shares = np.random.default_rng(0), []
    for _ in range(400):
        _, near_copy = relative_to_test(rng.random(200), np.zeros(200, int), rng.random(r), np.zeros(r, int))
        shares.append(near_copy.mean())
    assert np.mean(shares) == pytest.approx(0.01 + 1 / (r + 1), rel=0.2)


def test_the_floor_compares_each_test_image_with_the_others_of_its_class() -> None:
    rng = np.random.default_rng(0)
    distances, classes = rng.integers(1, 40, 170) / 40, np.repeat([0, 1, 2, 3], [127, 40, 2, 1])
    relative, near_copy = relative_to_other_images(distances, classes)
    for row in range(len(distances)):
        others = np.arange(len(distances)) != row
        expected = relative_to_test(distances[[row]], classes[[row]], distances[others], classes[others])
        assert (relative[row], near_copy[row]) == (expected[0][0], expected[1][0])


def test_repeated_test_images_do_not_lower_the_floor_of_near_copies() -> None:
    distances = np.repeat(np.arange(1, 11) / 10, 3)
    assert relative_to_other_images(distances, np.zeros(30, int))[1].mean() == 0.1


def test_the_floor_of_near_copies_has_the_bias_of_generated_images() -> None:
    """With halves of the test split as the floor, a share of 0.1 would be compared with one of 0.18."""
    rng, r = np.random.default_rng(0), 10
    floors = [relative_to_other_images(rng.random(r), np.zeros(r, int))[1].mean() for _ in range(2000)]
    assert np.mean(floors) == pytest.approx(0.01 + 1 / (r + 1), rel=0.1)
