from io import StringIO
from unittest.mock import Mock

import numpy as np
import pytest
from builders import small_extractor, smooth_pixels

from bench.__main__ import BenchError, Contender, summarize
from bench.floor import products, updates
from bench.judging import measure, noisy, show
from gan.judging.definitions import METRICS


def test_the_floor_is_the_articles_arithmetic() -> None:
    assert sum(2 * m * k * n for m, k, n in products()) == pytest.approx(2.40e9, rel=1e-3), "FLOP an iteration"
    assert len(products()) == 4 + 2 * (3 + 3 + 2) + (4 + 3 + 3 + 4 + 3)
    assert updates() == [533_505, 533_505, 1_489_936]


def contender(name: str, milliseconds: list[float]) -> Contender:
    found = Contender(name, name, process=Mock(), stderr=StringIO())
    found.milliseconds = milliseconds
    return found


def test_ratios_are_taken_within_a_round() -> None:
    slowing = [10.0, 20.0, 40.0]  # the machine gets slower; ours is as fast as the peer all along
    result = summarize(
        [
            contender("ours", slowing),
            contender("jax_scan", slowing),
            contender("numpy_products", [6.0, 12.0, 24.0]),
            contender("xla_products", [7.0, 14.0, 28.0]),
            contender("xla_adam", [2.0, 4.0, 8.0]),
        ]
    )
    assert result["contenders"]["jax_scan"]["times_ours"] == 1
    assert result["floor"]["parts"] == {"matrix products": "numpy_products", "Adam": "xla_adam"}
    assert result["floor"]["ours_times_floor"] == 1.25


def test_without_ours_there_is_one_clear_error() -> None:
    with pytest.raises(BenchError, match="ours did not run"):
        summarize([contender("jax_scan", [1.0])])


def test_judging_is_measured_part_by_part_and_no_metric_is_forgotten(capsys) -> None:
    measured = measure(small_extractor(), smooth_pixels(80, seed=0), smooth_pixels(60, seed=1), num_images=40, rounds=2)
    assert [name for names in measured.part_seconds for name in names] == [definition.name for definition in METRICS]
    assert min(measured.total_seconds, measured.features_seconds, *measured.part_seconds.values()) > 0
    assert 10**8 < measured.peak_bytes < 10**11
    show(measured)
    shown = capsys.readouterr().out
    assert all(definition.title in shown for definition in METRICS)


def test_images_to_judge_are_noisy_training_images() -> None:
    grey = np.full((50, 28, 28), 128, np.uint8)
    images = noisy(grey, np.random.default_rng(0))
    assert images.dtype == np.uint8
    assert images.std() == pytest.approx(20, rel=0.02)
    assert noisy(np.zeros_like(grey), np.random.default_rng(0)).min() == 0
