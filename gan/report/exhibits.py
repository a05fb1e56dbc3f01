"""The pictures of a report, chosen and drawn from what was found of each image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from gan.judging.definitions import AskedClasses
from gan.judging.image_statistics import ImageStatistics
from gan.judging.judge import Judge
from gan.report.blind_test import GAME_LENGTH, MIN_IMAGES, BlindTest, make_blind_test
from gan.report.charts import (
    as_png,
    as_svg,
    best_snapshot,
    draw_class_balance,
    draw_intensities,
    draw_losses,
    draw_quality,
)
from gan.report.rendering import draw_class_rows, draw_grid, png_bytes, spaced

NUM_IN_A_GRID, NUM_OF_A_CLASS, NUM_NEIGHBOURS, NUM_EXTREMES = 64, 10, 10, 20
NUM_IN_PAIRS, MAX_CLASSES_DRAWN, MIN_OF_A_CLASS, MAX_OF_ALL_CLASSES = 8, 10, 3, 200
NUM_IN_BLIND_TEST, NUM_IN_A_SNAPSHOT, MAX_SNAPSHOTS = 120, 16, 24
SCALE = 2


@dataclass(frozen=True)
class Findings:
    """What a comparison of generated with real images has found, and what it is of."""

    judge: Judge
    class_names: Sequence[str]
    train_pixels: np.ndarray  # uint8 (m, 28, 28), the whole split
    test_labels: np.ndarray  # int (k,), of the whole split
    fake_pixels: np.ndarray  # uint8 (>= n, 28, 28)
    average_pixels: np.ndarray  # uint8 (>= n, 28, 28)
    asked_labels: np.ndarray | None  # int (>= n,), the classes that the generator was asked for; None: takes none
    fake: ImageStatistics
    average: ImageStatistics
    snapshot_steps: Sequence[int]
    snapshots: np.ndarray  # uint8 (num_snapshots, num_images, 28, 28)
    quality: np.ndarray  # float64 (num_snapshots, 2), QUALITY_COLUMNS
    quality_of: str  # images and features that it is of
    history: np.ndarray  # float32 (steps, 3), HISTORY_COLUMNS

    @property
    def asked_classes(self) -> AskedClasses | None:
        """How often the generator gives the class that it was asked for."""
        if self.asked_labels is None:
            return None
        judge, asked = self.judge, self.asked_labels[: self.judge.n]
        return AskedClasses(
            value=float((self.fake.fake.classes == asked).mean()),
            average=float((self.average.fake.classes == asked).mean()),
            real=float((judge.test.classes == self.test_labels[judge.test_rows]).mean()),
        )


@dataclass(frozen=True)
class ClassRow:
    """One class: real images of the label, generated images that it was asked for, or that are taken for it."""

    name: str
    real_share: float  # of test images that the classifier takes for it, 0 to 1
    fake_share: float
    real: np.ndarray  # uint8 (k, 28, 28), k <= NUM_OF_A_CLASS
    fake: np.ndarray  # uint8 (k, 28, 28)
    real_rows: np.ndarray  # int (k,), which of the judge's test images they are
    fake_rows: np.ndarray  # int (k,), which of the samples


@dataclass(frozen=True)
class Neighbours:
    """Generated images, each with the training image that is nearest to it."""

    caption: str
    fake: np.ndarray  # uint8 (k, 28, 28)
    train: np.ndarray  # uint8 (k, 28, 28)
    fake_rows: np.ndarray  # int (k,), which of the samples they are


@dataclass(frozen=True)
class Snapshot:
    """The fixed latents after a step, and what they were judged."""

    step: int
    point: int  # of the curves
    grid: bytes
    frechet_distance: float
    recall: float


@dataclass(frozen=True)
class Exhibits:
    """Everything that a report shows of images; bytes are PNG."""

    real_grid: bytes
    fake_grid: bytes
    average_grid: bytes
    pairs: bytes  # real images above as many generated ones: small enough to stand anywhere
    classes: Sequence[ClassRow]
    class_rows: bytes  # the first of them as one picture
    neighbours: Sequence[Neighbours]
    neighbour_rows: bytes  # the same as one picture
    convincing: bytes
    unconvincing: bytes
    snapshots: Sequence[Snapshot]
    judged: Sequence[tuple[int, float, float]]  # of every snapshot: step, Fréchet distance, recall
    quality: bytes
    quality_of: str
    curves: bytes
    charts: Mapping[str, Markup]  # SVG by name
    test: BlindTest | None  # None where there are too few images


def make_exhibits(found: Findings, *, seed: int) -> Exhibits:
    """Choose and draw all of them.

    Args:
        found: What was found.
        seed: Seeds the choice of real images and the order of the blind test.
    """
    rng = np.random.default_rng(seed)
    judge, n = found.judge, found.judge.n
    real_in_grid, fake_in_grid = rng.permutation(n)[:NUM_IN_A_GRID], np.arange(min(NUM_IN_A_GRID, n))
    class_rows, neighbours, extremes = choose_class_rows(found), choose_neighbours(found), choose_extremes(found.fake)
    questions = choose_questions(
        found,
        shown_real=np.concatenate([real_in_grid, *(row.real_rows for row in class_rows)]),
        shown_fake=np.concatenate(
            [fake_in_grid, *extremes, *(row.fake_rows for row in class_rows), *(row.fake_rows for row in neighbours)]
        ),
        rng=rng,
    )
    quality = draw_quality(found.snapshot_steps, found.quality, found.quality_of)
    losses = draw_losses(found.history)
    predicted = (judge.test.classes, found.fake.fake.classes, found.average.fake.classes)
    shares = [np.bincount(classes, minlength=judge.num_classes) / n for classes in predicted]
    histograms = [side.intensities.mean(axis=0) for side in (found.fake.real, found.fake.fake, found.average.fake)]
    return Exhibits(
        real_grid=png_bytes(draw_grid(judge.test_pixels[real_in_grid], 8, scale=SCALE)),
        fake_grid=png_bytes(draw_grid(found.fake_pixels[fake_in_grid], 8, scale=SCALE)),
        average_grid=png_bytes(draw_grid(found.average_pixels[fake_in_grid], 8, scale=SCALE)),
        pairs=tiles(
            np.concatenate([judge.test_pixels[real_in_grid[:NUM_IN_PAIRS]], found.fake_pixels[:NUM_IN_PAIRS]]), 8
        ),
        classes=class_rows,
        class_rows=png_bytes(
            draw_class_rows([(row.name, row.real, row.fake) for row in class_rows[:MAX_CLASSES_DRAWN]], scale=SCALE)
        ),
        neighbours=neighbours,
        neighbour_rows=tiles(
            np.concatenate([half for group in neighbours for half in (group.fake, group.train)]), NUM_NEIGHBOURS
        ),
        convincing=tiles(found.fake_pixels[extremes[0]], 10),
        unconvincing=tiles(found.fake_pixels[extremes[1]], 10),
        snapshots=choose_snapshots(found),
        judged=[
            (step, float(distance), float(recall))
            for step, (distance, recall) in zip(found.snapshot_steps, found.quality, strict=True)
        ],
        quality=as_png(quality),
        quality_of=found.quality_of,
        curves=as_png(losses),
        charts={
            "quality": as_svg(quality, "quality"),
            "losses": as_svg(losses, "losses"),
            "classes": as_svg(draw_class_balance(found.class_names, *shares), "classes"),
            "intensities": as_svg(draw_intensities(*histograms), "intensities"),
        },
        test=None if n < MIN_IMAGES else make_blind_test(*questions, seed=seed),
    )


def choose_class_rows(found: Findings) -> list[ClassRow]:
    """The first images of every class, not chosen: real ones of the label, generated ones that it was asked for.

    Where the generator takes no classes, those that the classifier takes for it.
    """
    judge, fake = found.judge, found.fake
    labels, classes = found.test_labels[judge.test_rows], fake.fake.classes
    places = classes if found.asked_labels is None else found.asked_labels[: judge.n]
    num = max(MIN_OF_A_CLASS, min(NUM_OF_A_CLASS, MAX_OF_ALL_CLASSES // len(found.class_names)))
    rows = []
    for label, name in enumerate(found.class_names):
        real_rows, fake_rows = np.flatnonzero(labels == label)[:num], np.flatnonzero(places == label)[:num]
        rows.append(
            ClassRow(
                name=name,
                real_share=float((judge.test.classes == label).mean()),
                fake_share=float((classes == label).mean()),
                real=judge.test_pixels[real_rows],
                fake=found.fake_pixels[fake_rows],
                real_rows=real_rows,
                fake_rows=fake_rows,
            )
        )
    return rows


def choose_neighbours(found: Findings) -> list[Neighbours]:
    """The first fakes, and those that come nearest to a training image, beside that image."""
    fake = found.fake.fake
    first = np.arange(min(NUM_NEIGHBOURS, len(fake.nearest)))
    closest = np.argsort(fake.relative_distance, kind="stable")[:NUM_NEIGHBOURS]
    return [
        Neighbours(caption, found.fake_pixels[rows], found.train_pixels[fake.nearest[rows]], rows)
        for caption, rows in (
            ("The first generated images, not chosen", first),
            ("The ones that come nearest, for their class: copies would be here", closest),
        )
    ]


def choose_snapshots(found: Findings) -> list[Snapshot]:
    """Snapshots from the first to the last, evenly spaced if there are many, and the best."""
    shown = {*spaced(len(found.snapshot_steps), MAX_SNAPSHOTS), best_snapshot(found.quality[:, 0])}
    return [
        Snapshot(
            step=found.snapshot_steps[index],
            point=index,
            grid=tiles(found.snapshots[index][:NUM_IN_A_SNAPSHOT], 4),
            frechet_distance=float(found.quality[index, 0]),
            recall=float(found.quality[index, 1]),
        )
        for index in sorted(shown)
    ]


def choose_extremes(fake: ImageStatistics) -> tuple[np.ndarray, np.ndarray]:
    """The fakes that look most real to the two-sample classifier, and those that look least real, the extreme first.

    Returns:
        Which of the samples, int (NUM_EXTREMES,), twice; fewer if there are fewer.
    """
    order = np.argsort(-fake.fake.logits, kind="stable")
    return order[:NUM_EXTREMES], order[::-1][:NUM_EXTREMES]


def choose_questions(
    found: Findings, *, shown_real: np.ndarray, shown_fake: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Real and generated images for the blind test, none that the page shows: it would be known.

    Args:
        found: What was found.
        shown_real: int, which of the judge's test images the page shows.
        shown_fake: int, which of the samples.
        rng: Draws the images.

    Returns:
        uint8 (k, 28, 28), twice, k <= NUM_IN_BLIND_TEST. Where there would be less than a game left, the shown ones
        are dealt as well.
    """
    n = found.judge.n
    orders = [rng.permutation(n), rng.permutation(n)]
    hidden = [order[~np.isin(order, shown)] for order, shown in zip(orders, (shown_real, shown_fake), strict=True)]
    if min(map(len, hidden)) < GAME_LENGTH:
        hidden = orders
    num = min(NUM_IN_BLIND_TEST, *map(len, hidden))
    return found.judge.test_pixels[hidden[0][:num]], found.fake_pixels[hidden[1][:num]]


def tiles(pixels: np.ndarray, columns: int) -> bytes:
    """Images in rows as PNG, close to each other, without a frame."""
    return png_bytes(draw_grid(pixels, columns, scale=SCALE, margin=0, gap=SCALE))
