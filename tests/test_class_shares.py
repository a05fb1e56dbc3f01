"""Missing classes: those that a generator leaves out are found, and real images have none."""

import numpy as np
import pytest

from gan.judging.class_shares import count_classes, missing_classes


@pytest.mark.parametrize("n", [100, 300, 1000])
@pytest.mark.parametrize("shares", [np.full(10, 0.1), np.array([0.8, 0.1, 0.05, 0.05]), np.full(100, 0.01)])
def test_no_class_of_held_out_real_images_is_missing(shares, n) -> None:
    rng, names = np.random.default_rng(0), [str(label) for label in range(len(shares))]
    found = [missing_classes(count_classes(names, *rng.choice(len(shares), (2, n), p=shares)), n) for _ in range(300)]
    assert sum(map(bool, found)) <= 2, "0.1 % are expected"


@pytest.mark.parametrize(("num_classes", "n", "num_left_out"), [(10, 300, 1), (100, 300, 50), (20, 100, 10)])
def test_classes_that_are_left_out_are_found(num_classes, n, num_left_out) -> None:
    rng, names = np.random.default_rng(0), [str(label) for label in range(num_classes)]
    for _ in range(20):
        test, generated = rng.integers(num_classes, size=n), rng.integers(num_left_out, num_classes, size=n)
        found = [int(each.name) for each in missing_classes(count_classes(names, test, generated), n)]
        assert set(found) >= set(range(num_left_out)) & set(test)
        assert len(found) <= 1.2 * num_left_out, "a few others may be rare by chance"
