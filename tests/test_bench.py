import re
from io import StringIO
from unittest.mock import Mock

import numpy as np
import pytest
from builders import small_extractor, smooth_pixels
from rich.console import Console
from tensorflow.python.framework import config as tensorflow_config

from bench import STEPS_PER_CALL, floor
from bench.__main__ import BenchError, Contender, start, summarize
from bench.calibration import disjoint_judges, print_spread
from bench.contenders import contenders
from bench.floor import products, updates, xla_products
from bench.judging import measure, noisy, show
from bench.second_judge import build_second, table_of
from gan.data.pixels import normalize_images
from gan.data.samples import samples_bytes
from gan.judging.classifier import fit_classifier
from gan.judging.definitions import METRICS
from gan.judging.features import Extractor
from gan.judging.judge import Judge
from gan.models.networks import build_generator
from gan.recipes import ARTICLE
from gan.runs.manifest import AVERAGE_SAMPLES
from gan.runs.publish import METRICS_FILE


def test_the_floor_is_the_articles_arithmetic() -> None:
    assert sum(2 * m * k * n for m, k, n in products()) == pytest.approx(2.40e9, rel=1e-3), "FLOP an iteration"
    assert len(products()) == 4 + 2 * (3 + 3 + 2) + (4 + 3 + 3 + 4 + 3)
    assert updates() == [533_505, 533_505, 1_489_936]


def contender(name: str, milliseconds: list[float]) -> Contender:
    found = Contender(name, name, process=Mock(), stderr=StringIO())
    found.milliseconds = milliseconds
    return found


def test_the_floor_of_a_gpu_is_among_its_contenders_and_runs(monkeypatch) -> None:
    """Here on the CPU, with small operands."""
    monkeypatch.setattr("bench.contenders.ON_GPU", True)
    assert {"peak_products", "peak_copies", "ours, conditional-gpu"} <= contenders().keys()
    monkeypatch.setattr(floor, "LARGE_SIZE", 64)
    monkeypatch.setattr(floor, "LARGE_VALUES", 2**20)
    floor.peak_products()(1)
    floor.peak_copies()(1)


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


def test_a_contender_names_its_library_and_device_and_answers_with_seconds() -> None:
    found = start("numpy_products", "Matrix products in NumPy")
    assert found
    assert (found.library, found.device) == (f"NumPy {np.__version__}", "CPU")
    assert 0 < found.run(STEPS_PER_CALL) < 60
    found.process.communicate()
    found.stderr.close()


def test_the_products_of_the_floor_need_no_random_numbers_without_a_seed() -> None:
    """With a GPU, TensorFlow refuses them, since operations are deterministic there."""
    tensorflow_config.enable_op_determinism()
    xla_products()(1)


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


def test_a_second_judge_has_other_features_and_offers_real_images_to_the_gate(tmp_path) -> None:
    pixels, labels = smooth_pixels(300, 0), np.arange(300) % 3
    network = fit_classifier(normalize_images(pixels), labels, 3, seed=1, epochs=1, build=build_second)
    judge = Judge(Extractor(network, "second", ""), pixels, smooth_pixels(150, 1), n=150, seed=0)
    run = tmp_path / "noise"
    run.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (150, 28, 28), dtype=np.uint8)
    (run / AVERAGE_SAMPLES).write_bytes(samples_bytes(noise, None))
    (run / METRICS_FILE).write_text('{"separation": {"accuracy": 0.97}}')
    printed = StringIO()
    Console(file=printed, width=200).print(table_of(judge, [run], smooth_pixels(150, 2)))
    shown = printed.getvalue()
    assert re.search(r"noise .* 97 % +pass", shown)
    assert re.search(r"real images .* [456]\d(\.\d)? %", shown), "chance: both are real"


def test_intervals_are_compared_with_the_spread_over_disjoint_sets(capsys) -> None:
    recipe = ARTICLE.model_copy(update={"latent_dim": 8, "generator_units": (16,), "discriminator_units": (16,)})
    generators = [build_generator(recipe, seed) for seed in (0, 1)]
    judges = disjoint_judges(small_extractor(10), smooth_pixels(300, 0), smooth_pixels(450, 1), 150)
    print_spread(judges, *generators)
    shown = capsys.readouterr().out
    assert "3 disjoint" in shown
    assert all(metric.title.split()[0] in shown for metric in METRICS)
