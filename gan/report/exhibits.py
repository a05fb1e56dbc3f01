"""Choose and draw the pictures of a report.

The gate judges the averaged weights, so generated images are theirs unless a name says `last`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from gan.judging.class_shares import ClassShare, count_classes
from gan.judging.definitions import AskedClasses
from gan.judging.image_statistics import FakeStatistics, ImageStatistics
from gan.judging.judge import Judge
from gan.report import charts
from gan.report.blind_test import GAME_LENGTH, BlindTest, make_blind_test
from gan.report.rendering import draw_class_rows, draw_grid, png_bytes, spaced, tiles_png

NUM_IN_A_GRID, NUM_OF_A_CLASS, NUM_NEIGHBOURS, NUM_EXTREMES = 64, 10, 10, 20
NUM_IN_PAIRS, MAX_CLASSES_DRAWN, MIN_OF_A_CLASS, MAX_OF_ALL_CLASSES = 8, 10, 3, 200
NUM_IN_BLIND_TEST, NUM_IN_A_SNAPSHOT, MAX_SNAPSHOTS = 120, 16, 24
SCALE = 2

FIRST_IMAGES = "The first generated images, not selected"
NEAREST_TO_TRAINING = "The generated images nearest to a training image, relative to their class; copies would be here"
NEAREST_TO_EACH_OTHER = (
    "The generated images nearest to another generated image, relative to their class; repetitions would be here"
)


@dataclass(frozen=True)
class Findings:
    """The result of judging a training: images, the evidence on them, and the course of the training."""

    judge: Judge
    class_names: Sequence[str]
    train_pixels: np.ndarray  # uint8 (m, 28, 28), the whole split
    test_labels: np.ndarray  # int (k,), of the whole split
    last_pixels: np.ndarray  # uint8 (>= n, 28, 28), of the last weights
    average_pixels: np.ndarray  # uint8 (>= n, 28, 28), of the same latents and the averaged weights
    asked_labels: np.ndarray | None  # int (>= n,), classes given to the generator; None if it is not conditional
    separation_logits: np.ndarray  # float32 (n,), of "real", by a network, for average_pixels
    last: ImageStatistics  # of images of the last weights
    average: ImageStatistics  # of images of the averaged weights
    snapshot_steps: Sequence[int]
    snapshots: np.ndarray  # uint8 (num_snapshots, num_images, 28, 28)
    quality: np.ndarray  # float64 (num_snapshots, 2), QUALITY_COLUMNS, of the last weights
    average_quality: np.ndarray  # the same of the averaged weights; nan at snapshots without these
    quality_of: str  # number of images and name of the features that `quality` is computed on
    history: np.ndarray  # float32 (steps, 3), HISTORY_COLUMNS

    @property
    def asked_classes(self) -> AskedClasses | None:
        """Shares of images that the classifier takes for the class given to the generator."""
        if self.asked_labels is None:
            return None
        judge, asked = self.judge, self.asked_labels[: self.judge.n]
        return AskedClasses(
            value=float((self.last.fake.classes == asked).mean()),
            average=float((self.average.fake.classes == asked).mean()),
            real=float((judge.test.classes == self.test_labels[judge.test_rows]).mean()),
        )

    @property
    def class_shares(self) -> tuple[ClassShare, ...]:
        """How often each class is predicted for test images and for images of the averaged weights."""
        return count_classes(self.class_names, self.judge.test.classes, self.average.fake.classes)


@dataclass(frozen=True)
class ClassRow:
    """Images of one class: real ones by label; generated ones by the class given to the generator, or predicted."""

    name: str
    real: np.ndarray  # uint8 (k, 28, 28), k <= NUM_OF_A_CLASS
    fake: np.ndarray  # uint8 (k, 28, 28)
    real_rows: np.ndarray  # int (k,), indices into the judge's test images
    fake_rows: np.ndarray  # int (k,), indices into the samples


@dataclass(frozen=True)
class Neighbours:
    """Generated images, and the training image or the other generated image that is nearest to each."""

    caption: str
    fake: np.ndarray  # uint8 (k, 28, 28)
    kind: str  # of the nearest images
    nearest: np.ndarray  # uint8 (k, 28, 28)
    shown_rows: np.ndarray  # int, indices into the samples of all generated images among both


class SnapshotQuality(NamedTuple):
    """The metrics of one snapshot."""

    step: int
    frechet_distance: float  # of the last weights
    recall: float
    average_frechet_distance: float | None  # of the averaged weights; None at snapshots without these
    average_recall: float | None


@dataclass(frozen=True)
class Exhibits:
    """All pictures of a report; bytes are PNG."""

    real_grid: bytes
    average_grid: bytes
    last_grid: bytes
    pairs: bytes  # a row of real images above a row of generated ones, as a thumbnail
    classes: Sequence[ClassRow]
    class_rows: bytes  # the first MAX_CLASSES_DRAWN of `classes` in one picture
    neighbours: Sequence[Neighbours]
    neighbour_rows: bytes  # `neighbours` in one picture
    convincing: bytes
    unconvincing: bytes
    judged: Sequence[SnapshotQuality]
    snapshots: Mapping[int, bytes]  # images of the fixed latents, by index into `judged`; not of every snapshot
    quality: bytes
    quality_of: str
    curves: bytes
    charts: Mapping[str, Markup]  # SVG by name
    test: BlindTest


def make_exhibits(found: Findings, *, seed: int) -> Exhibits:
    """Choose and draw all pictures of a report; `seed` seeds the choice of real images and the blind test."""
    rng = np.random.default_rng(seed)
    n, real_pixels, fake_pixels = found.judge.n, found.judge.test_pixels, found.average_pixels
    in_grid = rng.permutation(n)[:NUM_IN_A_GRID]
    classes, neighbours = _choose_class_rows(found), _choose_neighbours(found)
    by_realness = np.argsort(-found.separation_logits, kind="stable")
    shown_real = np.concatenate([in_grid, *(row.real_rows for row in classes)])
    class_fakes, neighbour_fakes = [row.fake_rows for row in classes], [group.shown_rows for group in neighbours]
    shown_fake = np.concatenate([np.arange(len(in_grid)), *class_fakes, *neighbour_fakes])
    questions = _choose_questions(found, shown_real, shown_fake, rng)
    drawn_classes = [(row.name, row.real, row.fake) for row in classes[:MAX_CLASSES_DRAWN]]
    neighbour_rows = [pixels for group in neighbours for pixels in (group.fake, group.nearest)]
    figures = _draw_charts(found)
    return Exhibits(
        real_grid=_draw_square(real_pixels[in_grid]),
        average_grid=_draw_square(fake_pixels[: len(in_grid)]),
        last_grid=_draw_square(found.last_pixels[: len(in_grid)]),
        pairs=tiles_png(np.concatenate([real_pixels[in_grid[:NUM_IN_PAIRS]], fake_pixels[:NUM_IN_PAIRS]]), 8),
        classes=classes,
        class_rows=png_bytes(draw_class_rows(drawn_classes, scale=SCALE)),
        neighbours=neighbours,
        neighbour_rows=tiles_png(np.concatenate(neighbour_rows), NUM_NEIGHBOURS),
        convincing=tiles_png(fake_pixels[by_realness[:NUM_EXTREMES]], 10),
        unconvincing=tiles_png(fake_pixels[by_realness[::-1][:NUM_EXTREMES]], 10),
        judged=[
            SnapshotQuality(step, *last, *(averaged if np.isfinite(averaged).any() else (None, None)))
            for step, last, averaged in zip(found.snapshot_steps, found.quality, found.average_quality, strict=True)
        ],
        snapshots=_draw_snapshots(found),
        quality=charts.as_png(figures["quality"]),
        quality_of=found.quality_of,
        curves=charts.as_png(figures["losses"]),
        charts={name: charts.as_svg(figure, name) for name, figure in figures.items()},
        test=make_blind_test(*questions, seed=seed),
    )


def _draw_square(pixels: np.ndarray) -> bytes:
    return png_bytes(draw_grid(pixels, 8, scale=SCALE))


def _draw_charts(found: Findings) -> dict[str, Figure]:
    sides = found.last.real, found.last.fake, found.average.fake
    classified = found.judge.test.classes, found.last.fake.classes, found.average.fake.classes  # as `charts.SETS`
    shares = [np.bincount(classes, minlength=found.judge.num_classes) / found.judge.n for classes in classified]
    histograms = [side.intensities.mean(axis=0) for side in sides]
    return {
        "quality": charts.draw_quality(found.snapshot_steps, found.quality, found.quality_of, found.average_quality),
        "losses": charts.draw_losses(found.history),
        "classes": charts.draw_class_balance(found.class_names, np.array(shares)),
        "intensities": charts.draw_intensities(histograms),
    }


def _choose_class_rows(found: Findings) -> list[ClassRow]:
    """Choose the first images of every class; generated images without a requested class have the predicted one."""
    judge = found.judge
    labels = found.test_labels[judge.test_rows]
    fake_labels = found.average.fake.classes if found.asked_labels is None else found.asked_labels[: judge.n]
    num = max(MIN_OF_A_CLASS, min(NUM_OF_A_CLASS, MAX_OF_ALL_CLASSES // len(found.class_names)))
    rows = []
    for label, name in enumerate(found.class_names):
        real_rows, fake_rows = np.flatnonzero(labels == label)[:num], np.flatnonzero(fake_labels == label)[:num]
        rows.append(
            ClassRow(
                name=name,
                real=judge.test_pixels[real_rows],
                fake=found.average_pixels[fake_rows],
                real_rows=real_rows,
                fake_rows=fake_rows,
            )
        )
    return rows


def _choose_neighbours(found: Findings) -> list[Neighbours]:
    fake, pixels = found.average.fake, found.average_pixels
    closest = np.argsort(fake.relative_distance, kind="stable")[:NUM_NEIGHBOURS]
    first, repeated = np.arange(len(closest)), _choose_repeated(fake)
    training, generated = "nearest in training", "nearest generated"
    others = fake.nearest_other[repeated]
    pairs = np.concatenate([repeated, others])
    return [
        Neighbours(FIRST_IMAGES, pixels[first], training, found.train_pixels[fake.nearest[first]], first),
        Neighbours(NEAREST_TO_TRAINING, pixels[closest], training, found.train_pixels[fake.nearest[closest]], closest),
        Neighbours(NEAREST_TO_EACH_OTHER, pixels[repeated], generated, pixels[others], pairs),
    ]


def _choose_repeated(fake: FakeStatistics) -> np.ndarray:
    """Return the rows of the NUM_NEIGHBOURS images nearest to another one.

    An image whose nearest one is chosen already comes last: if each is nearest to the other, one row shows both.
    """
    chosen: dict[int, None] = {}  # a set in order
    others: list[int] = []
    for row in np.argsort(fake.relative_to_other, kind="stable").tolist():
        if fake.nearest_other[row] in chosen:
            others.append(row)
        else:
            chosen[row] = None
    return np.array([*chosen, *others][:NUM_NEIGHBOURS])


def _draw_snapshots(found: Findings) -> dict[int, bytes]:
    """Draw at most MAX_SNAPSHOTS evenly spaced snapshots, and the best one."""
    shown = {*spaced(len(found.snapshot_steps), MAX_SNAPSHOTS), charts.index_of_lowest(found.quality[:, 0])}
    return {index: tiles_png(found.snapshots[index][:NUM_IN_A_SNAPSHOT], 4) for index in sorted(shown)}


def _choose_questions(
    found: Findings, shown_real: np.ndarray, shown_fake: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw up to NUM_IN_BLIND_TEST real and as many generated images for the blind test.

    Images that the page shows elsewhere, given by their indices, are left out, unless too few for a game would remain.
    """
    n = found.judge.n
    orders = [rng.permutation(n), rng.permutation(n)]
    hidden = [order[~np.isin(order, shown)] for order, shown in zip(orders, (shown_real, shown_fake), strict=True)]
    if min(map(len, hidden)) < GAME_LENGTH:
        hidden = orders
    num = min(NUM_IN_BLIND_TEST, *map(len, hidden))
    return found.judge.test_pixels[hidden[0][:num]], found.average_pixels[hidden[1][:num]]
