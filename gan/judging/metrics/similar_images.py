"""Find the nearest of many images, up to a shift, a horizontal flip and a factor of brightness."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gan.system.threads import map_in_threads

SIZE, CENTRE, INNER = 28, 13.5, 20
BLOCK_ROWS = 200
NUM_CANDIDATES = 16
MAX_SHIFT = 3
"""Largest shift, in pixels, that moves the centre of mass of an image to the middle."""

MARGIN = 4
"""Pixels at each border that are not compared: a shift moves something out on one side and in on the other."""

SHIFTS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
ROUNDING_ERROR = 1e-3
"""Distance below which two images are the same up to a shift, a flip and a factor; it counts as 0."""

NO_ROW, NOT_A_COSINE = -1, -2.0

EMPTY = 1e-6
"""Norm below which a vector counts as zero."""


class ImageIndex:
    """Finds the most similar of many reference images."""

    def __init__(self, references: np.ndarray) -> None:
        """Prepare the search among references, uint8 (m, 28, 28), m >= 1."""
        self._first_row: dict[bytes, int] = {}
        for row in reversed(range(len(references))):
            self._first_row[references[row].tobytes()] = row
        aligned = _align(references)
        self._aligned = _inner(aligned).reshape(len(references), -1)
        self._lengths = _in_blocks(_lengths, self._aligned)
        # References are often sorted by class. In a random order each part of them has images of every class.
        self._order = np.random.default_rng(0).permutation(len(references))
        self._coarse = _unit(_in_blocks(_coarse, aligned[self._order]))
        self._parts = np.linspace(0, len(references), min(NUM_CANDIDATES, len(references)) + 1).astype(int)

    def nearest(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the most similar reference of each query, uint8 (n, 28, 28), and its distance.

            d(x, y) = min over t of sin(t(x'), y'),   sin(a, b) = (1 - (a.b / (|a| |b|))^2)^(1/2)

        x' and y' are x and y in a standard position: the centre of mass in the middle, and the longer tail to the
        right. t is one of 18 further changes: mirrored or not, and shifted by up to one pixel in each direction. Only
        the inner 20 x 20 pixels are compared. The sine of the angle between two images does not change if an image is
        multiplied by a constant.

        d is computed for 16 candidates: the most similar image of each of 16 parts of the references, by 10 x 10
        blurred pixels in the standard position.

        Returns:
            Indices, int64 (n,), and distances, float64 (n,), 0 to 1. Those below ROUNDING_ERROR are 0. A query that
            equals references gets the index of the first of them.
        """
        index, distances, _ = self._search(queries)
        for row, query in enumerate(queries):
            equal = self._first_row.get(query.tobytes())
            if equal is not None:
                index[row], distances[row] = equal, 0.0
        return index, distances

    def _search(self, queries: np.ndarray, *, of_references: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find the nearest reference of each query, its distance, and the distance of the second nearest one.

        If the queries are the references, a query is not its own nearest one.
        """
        if not len(queries):
            return np.empty(0, np.int64), np.empty(0), np.empty(0)
        aligned = _align(queries)
        blocks = [slice(start, start + BLOCK_ROWS) for start in range(0, len(queries), BLOCK_ROWS)]
        own = np.arange(len(queries)) if of_references else np.full(len(queries), NO_ROW)
        found = list(map_in_threads(lambda rows: self._nearest(aligned[rows], own[rows]), blocks))
        index, distances, second = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return index, distances, second

    def _nearest(self, aligned: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        candidates = self._candidates(aligned, own)  # (b, 16)
        lengths = self._lengths[candidates][..., np.newaxis]
        references = (self._aligned[candidates].astype(np.float32) / lengths).transpose(0, 2, 1)
        changed = np.concatenate([_shifted(aligned), _shifted(aligned[:, :, ::-1])], axis=1)  # (b, 18, 400)
        cosines = (changed @ references).max(axis=1)  # (b, 16)
        cosines[candidates == own[:, np.newaxis]] = NOT_A_COSINE
        best = cosines.argmax(axis=1)[:, np.newaxis]
        cosine = np.take_along_axis(cosines, best, axis=1)[:, 0]
        np.put_along_axis(cosines, best, NOT_A_COSINE, axis=1)
        second = cosines.max(axis=1)
        to_second = np.where(second == NOT_A_COSINE, np.inf, _sine(second))
        return np.take_along_axis(candidates, best, axis=1)[:, 0], _sine(cosine), to_second

    def _candidates(self, aligned: np.ndarray, own: np.ndarray) -> np.ndarray:
        queries, best = _unit(_coarse(aligned)), []
        for start, stop in zip(self._parts[:-1], self._parts[1:], strict=True):
            cosines = queries @ self._coarse[start:stop].T
            cosines[own[:, np.newaxis] == self._order[start:stop]] = NOT_A_COSINE
            best.append(start + cosines.argmax(axis=1))
        return np.asarray(self._order[np.stack(best, axis=1)])


class NearestOthers(NamedTuple):
    """The nearest other images of each image of a set."""

    nearest: np.ndarray  # int64 (n,), index of the nearest one
    distances: np.ndarray  # float64 (n,), to it, 0 to 1
    to_second: np.ndarray  # float64 (n,), distance to the second nearest one; infinite if there is none


def nearest_others(images: np.ndarray) -> NearestOthers:
    """Find for each image of a set, uint8 (n, 28, 28), n >= 2, the two nearest other images.

    Distances are those of `ImageIndex.nearest`. An image that occurs twice has distance 0 from the other one; if it
    occurs more often, it also has distance 0 from a second one. The second nearest image is one of the candidates that
    `ImageIndex` chooses, so it is missed if it is in the same part of the images as the nearest one.
    """
    index, distances, second = ImageIndex(images)._search(images, of_references=True)
    keys = [image.tobytes() for image in images]
    occurrences, last_row = Counter(keys), dict[bytes, int]()
    for row, key in enumerate(keys):
        before = last_row.get(key)
        if before is not None:
            index[[row, before]], distances[[row, before]] = (before, row), 0.0
        if occurrences[key] > 2:  # the image, the nearest one, and another one
            second[row] = 0.0
        last_row[key] = row
    return NearestOthers(index, distances, second)


def _align(images: np.ndarray) -> np.ndarray:
    """Move the centre of mass of images, uint8 (n, 28, 28), to the middle, and mirror them to one direction.

    A pixel weighs as much as it differs from the background: the median of the image's border. Pixels that are moved in
    at a border repeat it.
    """
    places = np.arange(SIZE, dtype=np.float32) - CENTRE

    def align(block: np.ndarray) -> np.ndarray:
        border = np.concatenate([block[:, 0], block[:, -1], block[:, :, 0], block[:, :, -1]], axis=1)
        weights = np.abs(block - np.median(border, axis=1).astype(np.float32)[:, np.newaxis, np.newaxis])
        weights /= np.maximum(weights.sum(axis=(1, 2), keepdims=True), EMPTY)
        by_row, by_column = weights.sum(axis=2), weights.sum(axis=1)
        down, right = (_shift_to_middle(by_place @ places) for by_place in (by_row, by_column))
        from_centre = places - (by_column @ places)[:, np.newaxis]
        mirrored = np.einsum("ij,ij->i", by_column, from_centre**3) < 0
        rows = np.clip(np.arange(SIZE) - down[:, np.newaxis], 0, SIZE - 1)
        columns = np.clip(np.arange(SIZE) - right[:, np.newaxis], 0, SIZE - 1)
        columns = np.where(mirrored[:, np.newaxis], columns[:, ::-1], columns)
        index = np.arange(len(block))[:, np.newaxis, np.newaxis]
        return np.asarray(block[index, rows[:, :, np.newaxis], columns[:, np.newaxis, :]])

    return _in_blocks(align, images)


def _shift_to_middle(from_middle: np.ndarray) -> np.ndarray:
    """Return the shift to the middle, in whole pixels, int (n,), at most MAX_SHIFT; opposite for a mirror image."""
    rounded = np.sign(from_middle) * np.floor(np.abs(from_middle) + 0.5)
    return np.asarray(-rounded.clip(-MAX_SHIFT, MAX_SHIFT).astype(int))


def _inner(images: np.ndarray) -> np.ndarray:
    return images[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def _coarse(images: np.ndarray) -> np.ndarray:
    """Return means of 2 x 2 inner pixels, blurred with (1, 2, 1) / 4 in both directions: float32 (n, 100)."""
    means = _inner(images).reshape(-1, INNER // 2, 2, INNER // 2, 2).mean(axis=(2, 4), dtype=np.float32)
    for axis in (1, 2):
        padded = np.pad(means, [(1, 1) if axis == other else (0, 0) for other in range(3)], mode="edge")
        before, after = (np.take(padded, range(first, first + INNER // 2), axis=axis) for first in (0, 2))
        means = (before + 2 * means + after) / 4
    return np.asarray(means.reshape(len(images), -1))


def _shifted(images: np.ndarray) -> np.ndarray:
    """Return the inner pixels of all SHIFTS of images, uint8 (n, 28, 28), as unit vectors: float32 (n, 9, 400)."""
    first, last = MARGIN, MARGIN + INNER
    shifts = [images[:, first + down : last + down, first + right : last + right] for down, right in SHIFTS]
    return _unit(np.stack(shifts, axis=1).reshape(len(images), len(SHIFTS), -1).astype(np.float32))


def _sine(cosines: np.ndarray) -> np.ndarray:
    """Return the sines of angles, float64 (n,), given their cosines; 0 for those below ROUNDING_ERROR."""
    sines = np.sqrt(np.maximum(0, 1 - cosines.astype(np.float64) ** 2))
    return np.where(sines < ROUNDING_ERROR, 0.0, sines)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / _lengths(vectors)[..., np.newaxis])


def _lengths(vectors: np.ndarray) -> np.ndarray:
    """Return the lengths of vectors (..., d), float32 (...), at least EMPTY."""
    vectors = vectors.astype(np.float32, copy=False)
    return np.asarray(np.maximum(np.sqrt(np.einsum("...j,...j->...", vectors, vectors)), EMPTY))


def _in_blocks(function: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """Return function(images), computed for blocks of rows."""
    starts = range(0, len(images), BLOCK_ROWS)
    blocks = map_in_threads(lambda start: function(images[start : start + BLOCK_ROWS]), starts)
    return np.concatenate(list(blocks) or [function(images)])
