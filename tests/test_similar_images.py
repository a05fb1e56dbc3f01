"""The search for the training image nearest to an image: changed copies are found, and unseen images are no copies."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from gan.judging.metrics import similar_images
from gan.judging.metrics.similar_images import ImageIndex, nearest_others


def patterns(n: int, seed: int) -> np.ndarray:
    """Return images of 36 random squares, uint8 (n, 28, 28), with a black border, so that shifts lose nothing."""
    squares = np.random.default_rng(seed).integers(0, 256, (n, 6, 6), dtype=np.uint8)
    return np.pad(squares.repeat(4, axis=1).repeat(4, axis=2), ((0, 0), (2, 2), (2, 2)))


@pytest.fixture(scope="module")
def references() -> np.ndarray:
    return patterns(700, seed=0)


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: pixels[:, :, ::-1],
        lambda pixels: np.roll(pixels, 1, axis=1),
        lambda pixels: np.roll(pixels, (-1, 1), axis=(1, 2)),
        lambda pixels: np.roll(pixels[:, :, ::-1], -1, axis=2),
        lambda pixels: (pixels * 0.5).astype(np.uint8),
        lambda pixels: np.roll(pixels, (2, 2), axis=(1, 2)),
    ],
    ids=["mirrored", "shifted down", "shifted up and to the right", "mirrored and shifted", "darker", "shifted by two"],
)
def test_a_changed_copy_is_found_nearly_at_distance_zero(references, change) -> None:
    index, distances = ImageIndex(references).nearest(change(references[:300]))
    assert (index == np.arange(300)).mean() > 0.98
    assert np.quantile(distances, 0.95) < 0.02


def test_unseen_images_are_farther_away_than_changed_copies(references) -> None:
    _, distances = ImageIndex(references).nearest(patterns(300, seed=1))
    assert np.quantile(distances, 0.05) > 0.2


def test_a_copy_has_distance_zero_and_the_index_of_the_first_equal_reference(references) -> None:
    index, distances = ImageIndex(np.concatenate([references, references])).nearest(references[::-1])
    np.testing.assert_array_equal(index, np.arange(700)[::-1])
    assert not distances.any()


def test_the_distance_is_the_least_over_all_changes_of_the_candidate(references) -> None:
    """With as many parts as references, every reference is a candidate."""
    few, queries = references[:10], patterns(20, seed=2)
    _, distances = ImageIndex(few).nearest(queries)
    aligned, changed = similar_images._align(few), similar_images._align(queries)
    inner = similar_images._inner(aligned).reshape(10, -1).astype(np.float64)
    inner /= np.linalg.norm(inner, axis=1, keepdims=True)
    for query, distance in zip(changed, distances, strict=True):
        sines = []
        for image in (query, query[:, ::-1]):
            for down, right in similar_images.SHIFTS:
                moved = np.roll(image, (-down, -right), axis=(0, 1))[4:-4, 4:-4].ravel().astype(np.float64)
                cosine = inner @ (moved / np.linalg.norm(moved))
                sines.append(np.sqrt(1 - cosine.clip(-1, 1) ** 2).min())
        assert distance == pytest.approx(min(sines), abs=1e-3)


def test_the_distance_to_other_images_leaves_out_the_image_itself(references) -> None:
    """With as many parts as images, every other image is a candidate."""
    few = references[:10]
    to_others = np.sort(
        [
            [ImageIndex(few[[other]]).nearest(few[[row]])[1][0] for other in range(10) if other != row]
            for row in range(10)
        ]
    )
    found = nearest_others(few)
    np.testing.assert_allclose(found.distances, to_others[:, 0], atol=1e-6)
    np.testing.assert_allclose(found.to_second, to_others[:, 1], atol=1e-6)
    assert np.isinf(nearest_others(references[:2]).to_second).all()
    repeated = np.concatenate([references, references[:5], references[5:10, :, ::-1]])
    index, distances, second = nearest_others(repeated)
    np.testing.assert_array_equal(index[:10], range(700, 710))
    np.testing.assert_array_equal(index[700:], range(10))
    assert not distances[[*range(5), *range(700, 705)]].any()
    assert (distances[[*range(5, 10), *range(705, 710)]] < 0.02).all()
    assert (distances[10:700] > 0.1).all()
    assert (second > 0.1).all()
    thrice = nearest_others(np.concatenate([references, references[:5], references[:5]]))
    assert not thrice.to_second[[*range(5), *range(700, 710)]].any()
    assert (thrice.to_second[5:700] > 0.1).all()


def test_results_do_not_depend_on_the_block_size(references, monkeypatch) -> None:
    queries = patterns(50, seed=3)
    whole = ImageIndex(references).nearest(queries)
    monkeypatch.setattr(similar_images, "BLOCK_ROWS", 7)
    in_blocks = ImageIndex(references).nearest(queries)
    np.testing.assert_array_equal(whole[0], in_blocks[0])
    np.testing.assert_allclose(whole[1], in_blocks[1], atol=1e-6)


def peak_of(work: Callable[[], object]) -> int:
    """Return how many bytes were allocated at once, at most, while something is computed."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_images_that_wait_for_their_block_need_little_memory(monkeypatch) -> None:
    """All changes of one query alone have 29 KB, and several times that while they are compared."""
    monkeypatch.setattr(similar_images, "BLOCK_ROWS", 10)
    many, queries = patterns(3000, seed=5), patterns(1000, seed=6)
    assert peak_of(lambda: ImageIndex(many)) < 3000 * 5_000
    index = ImageIndex(many)
    assert peak_of(lambda: index.nearest(queries)) < 1000 * 20_000


@pytest.mark.parametrize("value", [0, 255])
def test_plain_images_and_few_references_have_finite_distances(value: int) -> None:
    plain = np.full((3, 28, 28), value, np.uint8)
    index, distances = ImageIndex(plain[:1]).nearest(np.concatenate([plain, patterns(5, seed=4)]))
    assert not index.any()
    assert not distances[:3].any()
    assert np.isfinite(distances).all()
    assert (distances <= 1).all()
