"""The chart of quality by time: which runs it shows, and which numbers."""

import json

import numpy as np
import pytest

from bench.quality import _described, draw, read_curves
from gan.recipes import ARTICLE, MLP, Recipe
from gan.report.charts import as_png
from gan.runs.publish import write_json
from gan.training.history import history_csv


def publish(
    runs,
    name: str,
    recipe: Recipe,
    *,
    seed: int = 0,
    n: int = 100,
    steps: int | None = None,
    data=None,
    seconds_a_step: float = 2.0,
) -> None:
    steps, folder = steps or recipe.steps, runs / name
    folder.mkdir(parents=True)
    train = {"recipe": recipe.model_dump(mode="json"), "steps": steps, "batch_size": recipe.batch_size, "seed": seed}
    write_json(folder / "config.json", {"train": train} | ({"data": data} if data else {}))
    metric = {"average": 0.5, "floor": 0.1, "n": n, "extractor": "small"}
    metrics = {"frechet_distance": metric, "recall": metric}
    training, quality_of = {"training_seconds": seconds_a_step * steps}, "9 images, small features"
    write_json(
        folder / "metrics.json",
        {"metrics": metrics, "training": training, "history_quality": quality_of},
    )
    quality = {step: np.array([10 / (step + 1), 0.2]) for step in (0, steps // 2, steps - 1)}
    (folder / "history.csv").write_bytes(history_csv(np.zeros((steps, 3), np.float32), quality))


def test_only_complete_and_comparable_trainings_are_drawn_one_for_each_seed(tmp_path) -> None:
    publish(tmp_path, "0, judged by others", ARTICLE, n=99)
    publish(tmp_path, "a", ARTICLE)
    publish(tmp_path, "b", MLP, seed=1)
    publish(tmp_path, "c", MLP, seconds_a_step=3.0)
    publish(tmp_path, ".half-published.partial", MLP, seed=9)
    (tmp_path / ".half-published.partial" / "metrics.json").unlink()
    publish(tmp_path, "same seed again", MLP)
    publish(tmp_path, "other card", MLP.model_copy(update={"learning_rate": 1.0}), seed=2)
    publish(tmp_path, "few steps", MLP, seed=3, steps=100)
    publish(tmp_path, "judged by others", MLP, seed=4, n=99)
    publish(tmp_path, "other data", MLP, seed=5, data={"name": "own"})
    curves = read_curves(tmp_path)
    assert [(curve.recipe, curve.seed) for curve in curves] == [("article", 0), ("mlp", 0), ("mlp", 1)]
    assert curves[0].seconds.tolist() == pytest.approx([2, 2 * (ARTICLE.steps // 2 + 1), 2 * ARTICLE.steps])
    assert {curve.total_seconds for curve in curves[1:]} == {2.0 * MLP.steps}, (
        "the slower training shared the machine with another program"
    )
    assert curves[1].seconds[-1] == curves[2].seconds[-1] == 2.0 * MLP.steps
    assert as_png(draw(curves)).startswith(b"\x89PNG")


def test_numbers_that_are_not_defined_leave_a_gap_and_are_labelled_so(tmp_path) -> None:
    publish(tmp_path, "a", ARTICLE)
    content = json.loads((tmp_path / "a" / "metrics.json").read_text())
    content["metrics"]["recall"] |= {"average": None, "floor": None}
    write_json(tmp_path / "a" / "metrics.json", content)
    quality = {step: np.array([10 / (step + 1), np.nan]) for step in (0, ARTICLE.steps - 1)}
    (tmp_path / "a" / "history.csv").write_bytes(history_csv(np.zeros((ARTICLE.steps, 3), np.float32), quality))
    curves = read_curves(tmp_path)
    assert np.isnan(curves[0].quality[:, 1]).all()
    assert _described([curve.average["recall"] for curve in curves]) == "not defined"
    assert as_png(draw(curves)).startswith(b"\x89PNG")
