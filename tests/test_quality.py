"""The chart of quality by time: which runs it shows, and which numbers."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.quality import _described, draw, read_curves
from gan.recipe import Recipe
from gan.recipes import ARTICLE, MLP
from gan.report.charts import as_png
from gan.report.history_file import history_csv
from gan.runs.publish import write_json


def publish(
    root: Path,
    name: str,
    recipe: Recipe,
    *,
    day: int = 1,
    seed: int = 0,
    n: int = 100,
    steps: int | None = None,
    data=None,
    badge: str = "Not fit for the gate",
    seconds_a_step: float = 2.0,
) -> None:
    steps, folder = steps or recipe.steps, root / "runs" / name
    folder.mkdir(parents=True)
    train = {"recipe": recipe.model_dump(mode="json"), "steps": steps, "batch_size": recipe.batch_size, "seed": seed}
    write_json(folder / "config.json", {"train": train, "samples": {}} | ({"data": data} if data else {}))
    manifest = {"published": f"2026-11-{day:02}T03:00:00Z", "recipe": recipe.name, "seed": seed}
    write_json(
        folder / "manifest.json",
        {**manifest, "gate": {"passes": False}, "data": {"name": "fashion-mnist", "sha256": {}}},
    )
    metric = {"average": 0.5, "floor": 0.1, "n": n, "extractor": "small"}
    metrics = dict.fromkeys(("frechet_distance", "recall", "coverage", "two_sample_accuracy"), metric)
    training, quality_of = {"training_seconds": seconds_a_step * steps}, "9 images, small features"
    write_json(
        folder / "metrics.json",
        {"badge": badge, "verdict": "", "metrics": metrics, "training": training, "history_quality": quality_of},
    )
    quality = {step: np.array([10 / (step + 1), 0.2]) for step in (0, steps // 2, steps - 1)}
    (folder / "history.csv").write_bytes(history_csv(np.zeros((steps, 3), np.float32), quality))


def test_only_complete_and_comparable_trainings_are_drawn_one_for_each_seed(tmp_path) -> None:
    publish(tmp_path, "judged-by-others", ARTICLE, n=99)
    publish(tmp_path, "a", ARTICLE)
    publish(tmp_path, "b", MLP, seed=1)
    publish(tmp_path, "the-newest-of-its-seed", MLP, day=2, seconds_a_step=3.0)
    publish(tmp_path, ".half-published.partial", MLP, seed=9)
    (tmp_path / "runs" / ".half-published.partial" / "metrics.json").unlink()
    publish(tmp_path, "older", MLP, seconds_a_step=1.0)
    publish(tmp_path, "collapsed", MLP, seed=1, day=3, badge="Broken")
    publish(tmp_path, "other-card", MLP.model_copy(update={"learning_rate": 1.0}), seed=2)
    publish(tmp_path, "few-steps", MLP, seed=3, steps=100)
    publish(tmp_path, "judged-by-others-too", MLP, seed=4, n=99)
    publish(tmp_path, "other-data", MLP, seed=5, data={"name": "own"})
    curves, num_left_out = read_curves(tmp_path)
    assert [(curve.recipe, curve.seed) for curve in curves] == [("article", 0), ("mlp", 0), ("mlp", 1)]
    assert num_left_out == 4
    assert [(curve.recipe, curve.seed) for curve in read_curves(tmp_path, {1})[0]] == [("mlp", 1)]
    assert curves[0].seconds.tolist() == pytest.approx([2, 2 * (ARTICLE.steps // 2 + 1), 2 * ARTICLE.steps])
    assert {curve.total_seconds for curve in curves[1:]} == {2.0 * MLP.steps}, (
        "the slower training shared the machine with another program"
    )
    assert curves[1].seconds[-1] == curves[2].seconds[-1] == 2.0 * MLP.steps
    assert as_png(draw(curves)).startswith(b"\x89PNG")


def test_numbers_that_are_not_defined_leave_a_gap_and_are_labelled_so(tmp_path) -> None:
    publish(tmp_path, "a", ARTICLE)
    content = json.loads((tmp_path / "runs" / "a" / "metrics.json").read_text())
    content["metrics"]["recall"] |= {"average": None, "floor": None}
    write_json(tmp_path / "runs" / "a" / "metrics.json", content)
    quality = {step: np.array([10 / (step + 1), np.nan]) for step in (0, ARTICLE.steps - 1)}
    (tmp_path / "runs" / "a" / "history.csv").write_bytes(
        history_csv(np.zeros((ARTICLE.steps, 3), np.float32), quality)
    )
    curves, _ = read_curves(tmp_path)
    assert np.isnan(curves[0].quality[:, 1]).all()
    assert _described([curve.average["recall"] for curve in curves]) == "not defined"
    assert as_png(draw(curves)).startswith(b"\x89PNG")
