"""Make the report on small synthetic images that tests of its content and of its page share."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from builders import small_extractor, smooth_pixels

from gan.judging.bootstrap import Difference
from gan.judging.definitions import Separation
from gan.judging.gate import Decision
from gan.judging.judge import Judge, SnapshotJudge
from gan.report.comparison import Contestant, compare_runs
from gan.report.exhibits import Findings, make_exhibits
from gan.report.page import Report
from gan.report.rendering import animation_bytes, draw_grid, png_bytes

HOSTILE = '<img src=x onerror="document.title=1"> & | `friends` ](http://evil)'
NUM_SNAPSHOTS = 5
GATE = Decision(
    passes=False,
    champion=HOSTILE,
    reasons=("Recall is worse.",),
    differences=(
        Difference(
            name="recall",
            title="Recall",
            better="up to real",
            this=0.1,
            other=0.4123,
            n=150,
            extractor="small",
            difference=-0.3,
            low=-0.4,
            high=-0.2,
        ),
    ),
)


def noise(num: int, seed: int) -> np.ndarray:
    """Return random grey levels, uint8 (num, 28, 28)."""
    return np.random.default_rng(seed).integers(0, 256, (num, 28, 28), dtype=np.uint8)


def make_findings() -> Findings:
    """Return the findings on noise as generated images, and on smooth images as averaged ones."""
    judge = Judge(small_extractor(10), smooth_pixels(300, 0), smooth_pixels(150, 1), n=150, seed=0)
    fake, average = noise(150, 2), smooth_pixels(150, 3)
    snapshot_judge = SnapshotJudge(judge.extractor, smooth_pixels(150, 1), 40)
    snapshots = np.stack([noise(40, step) for step in range(NUM_SNAPSHOTS - 1)] + [smooth_pixels(40, 4)])
    return Findings(
        judge=judge,
        class_names=(HOSTILE, *(f"class {label}" for label in range(1, 10))),
        train_pixels=smooth_pixels(300, 0),
        test_labels=np.arange(150) % 10,
        last_pixels=fake,
        average_pixels=average,
        asked_labels=None,
        separation_logits=np.arange(150, dtype=np.float32),
        last=judge.examine(fake),
        average=judge.examine(average),
        snapshot_steps=range(0, 1000 * NUM_SNAPSHOTS, 1000),
        snapshots=snapshots,
        quality=np.array([snapshot_judge(pixels) for pixels in snapshots]),
        quality_of=snapshot_judge.description,
        average_quality=np.array([[np.nan, np.nan], *([90.0 / i, 0.1 * i] for i in range(1, len(snapshots)))]),
        history=np.random.default_rng(0).random((4001, 3), dtype=np.float32),
    )


def make_report(findings: Findings, folder: Path) -> Report:
    """Return a report on findings, with hostile text wherever it has text of others; its pictures are in the folder."""
    (folder / "interpolation.png").write_bytes(png_bytes(draw_grid(smooth_pixels(4, 5), 2, scale=2)))
    (folder / "training.webp").write_bytes(
        animation_bytes([draw_grid(noise(4, step), 2, scale=2) for step in range(3)])
    )
    average, fake = findings.average_pixels, findings.last_pixels
    shapes: list[tuple[int | None, ...]] = [(None, 100)]
    this = Contestant("This run", smooth_pixels(32, 6), shapes, average, average, {"seed": "1"})
    other = Contestant(HOSTILE, noise(32, 7), shapes, fake, average, {"seed": HOSTILE, "device": "CPU"})
    against = compare_runs(findings.judge, this, other, seed=0)
    return Report(
        title=f"{HOSTILE}: real and generated",
        run_name="own-article",
        subtitle="recipe article",
        metrics=findings.judge.metrics(findings.last, findings.average),
        class_shares=findings.class_shares,
        extractor_sha256=findings.judge.extractor.sha256,
        warnings=["Mode collapse after 500 steps"],
        exhibits=make_exhibits(findings, seed=0),
        animation=folder / "training.webp",
        interpolation=folder / "interpolation.png",
        against=replace(against, commits=[f"abc1234 {HOSTILE}"]),
        gate=GATE,
        asked_classes=None,
        separation=Separation(accuracy=0.72, floor=0.503, num_training=250),
        settings=[("steps", "10,001")],
        provenance=[("data", HOSTILE)],
        timings=[("train", "3 min 35 s")],
        credit="Tiny",
        data_warnings=["No training images of <b>Bag</b>"],
    )


def with_snapshots(findings: Findings, snapshots: np.ndarray) -> Findings:
    """Return findings with these snapshots, all of the same quality."""
    quality = np.ones((len(snapshots), 2))
    return replace(
        findings,
        snapshots=snapshots,
        snapshot_steps=range(len(snapshots)),
        quality=quality,
        average_quality=quality,
    )
