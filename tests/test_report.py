import re

import numpy as np
import pytest

from gan.history import history_csv, read_history
from gan.judging import Metric
from gan.rendering import draw_grid, save_animation, save_png
from gan.report.charts import draw_curves
from gan.report.page import Report, render_html, render_markdown
from gan.report.words import describe_number, describe_seconds

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)


@pytest.fixture
def report(tmp_path) -> Report:
    picture, animation = tmp_path / "grid.png", tmp_path / "training.webp"
    save_png(draw_grid(PIXELS, 2, scale=2), picture)
    save_animation([draw_grid(PIXELS, 2, scale=2)] * 2, animation)
    distance = Metric(
        name="frechet_distance",
        title="Fréchet distance",
        value=1234.5,
        average=567.8,
        floor=0.4123,
        n=10_000,
        extractor="pixels784",
        reading="lower is better",
    )
    return Report(
        title="<b>hostile</b> & friends",
        subtitle="Recipe article",
        metrics=[distance],
        warnings=["Mode collapse after 500 steps"],
        settings=[("steps", "10,001")],
        provenance=[("data", "here")],
        timings=[("train", "3 min 35 s")],
        pictures={
            "real": picture,
            "fake": picture,
            "average": picture,
            "curves": picture,
            "interpolation": picture,
            "animation": animation,
        },
        grids=[("step 0", picture)],
    )


def test_the_page_is_self_contained(report) -> None:
    page = render_html(report)
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 7
    assert all(source.startswith("data:image/") for source in sources)
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page


def test_text_in_the_page_is_escaped(report) -> None:
    page = render_html(report)
    assert "&lt;b&gt;hostile&lt;/b&gt; &amp; friends" in page
    assert "<b>hostile" not in page


def test_page_and_digest_show_each_number_beside_its_floor_its_n_and_its_features(report) -> None:
    for text in (render_html(report), render_markdown(report)):
        for part in ("1,234", "0.412", "10,000", "pixels784", "FID"):
            assert part in text


def test_the_verdict_carries_value_floor_and_features(report) -> None:
    assert report.verdict == (
        "On pixels784 features the generated images are at a Fréchet distance of 1,234 from 10,000 test images, "
        "with averaged weights 568; real training images are at 0.412."
    )


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.41234, "0.412"), (12.345, "12.3"), (99.96, "100"), (1234, "1,234")]
)
def test_numbers_have_three_significant_digits(value, text) -> None:
    assert describe_number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.21, "3.2 s"), (59.99, "1 min 00 s"), (215, "3 min 35 s"), (119.7, "2 min 00 s"), (7500, "2 h 05 min")],
)
def test_durations_read_as_people_say_them(seconds, text) -> None:
    assert describe_seconds(seconds) == text


def test_history_survives_its_csv_file_to_the_bit() -> None:
    history = np.random.default_rng(0).random((7, 3), dtype=np.float32) / 3
    content = history_csv(history).decode()
    assert content.startswith("step,d_loss,d_accuracy,g_loss\n0,")
    assert read_history(content).tobytes() == history.tobytes()


@pytest.mark.parametrize("steps", [1, 2, 1000])
def test_curves_are_drawn_for_any_length_and_the_same_each_time(steps) -> None:
    history = np.random.default_rng(0).random((steps, 3), dtype=np.float32)
    picture = draw_curves(history)
    assert picture.startswith(b"\x89PNG")
    assert picture == draw_curves(history)
