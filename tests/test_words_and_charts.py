"""Formatting of numbers, escaping of markup, and the charts of a report."""

import numpy as np
import pytest

from gan.formatting import describe_change, describe_number, describe_seconds, describe_share
from gan.report.charts import as_png, as_svg, draw_losses, draw_quality
from gan.report.history_file import history_csv
from gan.report.markup import code_span, escape_markdown


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.41234, "0.412"), (12.345, "12.3"), (99.96, "100"), (1234, "1,234")]
)
def test_numbers_have_three_significant_digits(value, text) -> None:
    assert describe_number(value) == text


def test_changes_have_a_sign_and_shares_are_percentages() -> None:
    assert [describe_change(value) for value in (12.34, 0, -0.5)] == ["+12", "0", "−0.5"]
    shares = [describe_change(value, is_share=True) for value in (0.1234, 0, -0.005)]
    assert shares == ["+12 %", "0 %", "−0.5 %"]
    assert [describe_share(share) for share in (0, 0.0123, 0.5, 0.989, 0.9912, 1)] == [
        "0 %",
        "1.2 %",
        "50 %",
        "99 %",
        "99.1 %",
        "100 %",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.21, "3.2 s"), (59.99, "1 min 00 s"), (215, "3 min 35 s"), (119.7, "2 min 00 s"), (7500, "2 h 05 min")],
)
def test_durations_are_in_seconds_minutes_or_hours(seconds, text) -> None:
    assert describe_seconds(seconds) == text


def test_hostile_text_in_markdown_has_no_markup() -> None:
    escaped = escape_markdown("a|b <b>\nc [d](e) `f`")
    assert escaped == r"a\|b &lt;b&gt; c \[d\](e) \`f\`"


def test_addresses_do_not_become_links_and_paths_stay_in_their_code_span() -> None:
    assert escape_markdown("http://a.b www.c.d e@f.g") == "http&#58;//a.b www&#46;c.d e&#64;f.g"
    assert code_span("/a`b``c") == "``` /a`b``c ```"
    assert code_span("/plain") == "`/plain`"


def test_history_is_restored_exactly_from_csv_and_has_quality_at_snapshots() -> None:
    history = np.random.default_rng(0).random((7, 3), dtype=np.float32) / 3
    header, *rows = history_csv(history, {2: np.array([351.5, 0.25, np.nan, 0.5])}).decode().splitlines()
    assert header == "step,d_loss,d_accuracy,g_loss,frechet_distance,recall,average_frechet_distance,average_recall"
    assert rows[2].endswith(",351.5,0.25,,0.5")
    assert rows[3].endswith(",,,,")
    restored = np.array([row.split(",")[1:4] for row in rows], np.float32)
    assert restored.tobytes() == history.tobytes()


@pytest.mark.parametrize("steps", [1, 2, 1000])
def test_charts_are_drawn_for_any_length_and_are_reproducible(steps) -> None:
    history = np.random.default_rng(0).random((steps, 3), dtype=np.float32)
    picture = as_png(draw_losses(history))
    assert picture.startswith(b"\x89PNG")
    assert picture == as_png(draw_losses(history))
    assert as_svg(draw_losses(history), "a") == as_svg(draw_losses(history), "a")


def test_a_chart_marks_each_snapshot_and_names_the_best() -> None:
    quality = np.array([[900.0, 0], [300, 0.1], [350, 0.3]])
    svg = as_svg(draw_quality([0, 1000, 2000], quality, "9 images"), "quality")
    assert "best: 300 at step 1,000" in svg
    assert "best: 30 % at step 2,000" in svg
    assert all(f'id="quality-point-{index}"' in svg for index in range(3))
    assert "averaged weights" not in svg


def test_the_quality_chart_shows_the_averaged_weights_where_they_were_judged() -> None:
    quality, of_average = np.array([[900.0, 0], [300, 0.1], [350, 0.3]]), np.array([[np.nan] * 2, [40, 0.5], [30, 0.9]])
    figure = draw_quality([0, 1000, 2000], quality, "9 images", of_average)
    for axes, expected in zip(figure.axes, ([40, 30], [50, 90]), strict=True):
        (line,) = (line for line in axes.lines if line.get_label() == "averaged weights")
        assert line.get_xydata().tolist() == [[1000, expected[0]], [2000, expected[1]]]
        assert axes.get_ylim()[1] > max(expected)
