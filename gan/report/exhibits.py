"""The pictures of a report, chosen and drawn from what was found of each image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from gan.judging.evidence import Evidence
from gan.judging.judge import Judge
from gan.rendering import draw_class_rows, draw_grid, png_bytes, spaced
from gan.report.blind_test import MIN_IMAGES, BlindTest, make_blind_test
from gan.report.charts import as_png, as_svg, draw_class_balance, draw_intensities, draw_losses, draw_quality

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
    fake: Evidence
    average: Evidence
    snapshot_steps: Sequence[int]
    snapshots: np.ndarray  # uint8 (num_snapshots, num_images, 28, 28)
    quality: np.ndarray  # float64 (num_snapshots, 2), QUALITY_COLUMNS
    history: np.ndarray  # float32 (steps, 3), HISTORY_COLUMNS


@dataclass(frozen=True)
class ClassRow:
    """One class: real images of the label, generated images that the classifier takes for it."""

    name: str
    real_share: float  # of test images that the classifier takes for it, 0 to 1
    fake_share: float
    real: np.ndarray  # uint8 (k, 28, 28), k <= NUM_OF_A_CLASS
    fake: np.ndarray  # uint8 (k, 28, 28)


@dataclass(frozen=True)
class Neighbours:
    """Generated images, each with the training image that is nearest to it."""

    caption: str
    fake: np.ndarray  # uint8 (k, 28, 28)
    train: np.ndarray  # uint8 (k, 28, 28)


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
    quality: bytes
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
    real_order, fake_order = rng.permutation(n), rng.permutation(n)
    convincing, unconvincing = choose_extremes(found.fake_pixels, found.fake)
    class_rows, neighbours = choose_class_rows(found), choose_neighbours(found)
    quality, losses = draw_quality(found.snapshot_steps, found.quality), draw_losses(found.history)
    predicted = (judge.test.classes, found.fake.fake.classes, found.average.fake.classes)
    shares = [np.bincount(classes, minlength=judge.num_classes) / n for classes in predicted]
    shown = NUM_IN_A_GRID if n >= NUM_IN_A_GRID + MIN_IMAGES else 0  # what the page shows above is no question below
    in_blind_test = (
        judge.test_pixels[real_order[shown:][:NUM_IN_BLIND_TEST]],
        found.fake_pixels[fake_order[fake_order >= shown][:NUM_IN_BLIND_TEST]],
    )
    histograms = [side.intensities.mean(axis=0) for side in (found.fake.real, found.fake.fake, found.average.fake)]
    return Exhibits(
        real_grid=png_bytes(draw_grid(judge.test_pixels[real_order[:NUM_IN_A_GRID]], 8, scale=SCALE)),
        fake_grid=png_bytes(draw_grid(found.fake_pixels[:NUM_IN_A_GRID], 8, scale=SCALE)),
        average_grid=png_bytes(draw_grid(found.average_pixels[:NUM_IN_A_GRID], 8, scale=SCALE)),
        pairs=tiles(
            np.concatenate([judge.test_pixels[real_order[:NUM_IN_PAIRS]], found.fake_pixels[:NUM_IN_PAIRS]]), 8
        ),
        classes=class_rows,
        class_rows=png_bytes(
            draw_class_rows([(row.name, row.real, row.fake) for row in class_rows[:MAX_CLASSES_DRAWN]], scale=SCALE)
        ),
        neighbours=neighbours,
        neighbour_rows=tiles(
            np.concatenate([half for group in neighbours for half in (group.fake, group.train)]), NUM_NEIGHBOURS
        ),
        convincing=tiles(convincing, 10),
        unconvincing=tiles(unconvincing, 10),
        snapshots=choose_snapshots(found),
        quality=as_png(quality),
        curves=as_png(losses),
        charts={
            "quality": as_svg(quality, "quality"),
            "losses": as_svg(losses, "losses"),
            "classes": as_svg(draw_class_balance(found.class_names, *shares), "classes"),
            "intensities": as_svg(draw_intensities(*histograms), "intensities"),
        },
        test=None if n < MIN_IMAGES else make_blind_test(*in_blind_test, seed=seed),
    )


def choose_class_rows(found: Findings) -> list[ClassRow]:
    """The first images of every class, not chosen: real ones of the label, generated ones that are taken for it."""
    judge, fake = found.judge, found.fake
    labels, classes = found.test_labels[judge.test_rows], fake.fake.classes
    num = max(MIN_OF_A_CLASS, min(NUM_OF_A_CLASS, MAX_OF_ALL_CLASSES // len(found.class_names)))
    return [
        ClassRow(
            name=name,
            real_share=float((judge.test.classes == label).mean()),
            fake_share=float((classes == label).mean()),
            real=judge.test_pixels[labels == label][:num],
            fake=found.fake_pixels[: judge.n][classes == label][:num],
        )
        for label, name in enumerate(found.class_names)
    ]


def choose_neighbours(found: Findings) -> list[Neighbours]:
    """The first fakes, and those that come nearest to a training image, beside that image."""
    fake = found.fake.fake
    first = np.arange(min(NUM_NEIGHBOURS, len(fake.nearest)))
    closest = np.argsort(fake.relative_distance, kind="stable")[:NUM_NEIGHBOURS]
    return [
        Neighbours(caption, found.fake_pixels[rows], found.train_pixels[fake.nearest[rows]])
        for caption, rows in (
            ("The first generated images, not chosen", first),
            ("The ones that come nearest, for their class: copies would be here", closest),
        )
    ]


def choose_snapshots(found: Findings) -> list[Snapshot]:
    """Snapshots from the first to the last, evenly spaced if there are many, and the best."""
    shown = {*spaced(len(found.snapshot_steps), MAX_SNAPSHOTS), int(found.quality[:, 0].argmin())}
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


def choose_extremes(fake_pixels: np.ndarray, fake: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """The fakes that look most real to the two-sample classifier, and those that look least real, best first.

    Args:
        fake_pixels: uint8, shape (k, 28, 28).
        fake: Evidence of the fakes.

    Returns:
        uint8 (NUM_EXTREMES, 28, 28), twice; fewer if there are fewer.
    """
    order = np.argsort(-fake.fake.logits, kind="stable")
    return fake_pixels[order[:NUM_EXTREMES]], fake_pixels[order[::-1][:NUM_EXTREMES]]


def tiles(pixels: np.ndarray, columns: int) -> bytes:
    """Images in rows as PNG, close to each other, without a frame."""
    return png_bytes(draw_grid(pixels, columns, scale=SCALE, margin=0, gap=SCALE))
