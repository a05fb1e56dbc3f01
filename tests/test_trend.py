"""The trend and the digest of published runs, and the forecast of a full disk."""

import base64
import os
import re
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import write_run

from flows.server.alerts import plain
from gan.report.front_page import FRONT_PAGE, FrontPage, collect, write_front_page
from gan.report.trend import digest_of, trend_line, trend_markdown
from gan.runs.champion import Change, add_change
from gan.runs.disk import DAY_SECONDS, describe_forecast

NIGHTS = 12


@pytest.fixture
def page(tmp_path: Path) -> FrontPage:
    """Twelve nights; the fifth became champion, the last is worse than usual."""
    for night in range(NIGHTS):
        write_run(tmp_path, night, 9.5 if night == NIGHTS - 1 else 1.2 + 0.1 * (night % 3), 0.5)
    champion = {"run": "night-005", "generator": f"{5:064}", "before": None}
    add_change(tmp_path, Change(at="2026-10-06T03:00:00+00:00", action="promoted", **champion))
    return collect(tmp_path)


def test_the_trend_has_the_opinion_the_champion_the_charts_and_the_newest_runs(page: FrontPage) -> None:
    text = trend_markdown(page, lambda path: f"http://pages/{path}")
    assert text.startswith("Champion: night-005 since 2026-10-06, Fréchet distance 1.4.")
    assert re.findall(r"\| \[(.+?)\]", text) == [f"night-{night:03}" for night in reversed(range(NIGHTS))]
    assert "(http://pages/runs/night-011/report.html)" in text
    charts = [base64.b64decode(found).decode() for found in re.findall(r"data:image/svg\+xml;base64,([^)]+)", text)]
    assert len(charts) == 2
    for chart in charts:
        assert chart.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
        assert chart.count("<circle") == NIGHTS
        assert "--bad: " in chart, "a picture has its own colours"
        assert "href" not in chart, "links in pictures lead nowhere"
    assert charts[0].count('class="worse"') == 1
    line = trend_line(page)
    assert line.startswith("![Fréchet distance](data:image/svg+xml;base64,")
    assert line.endswith(") night-011: Worse than usual: look at it. Fréchet distance 9.5, usually 1.3.")


def test_an_empty_folder_has_no_trend(tmp_path: Path) -> None:
    assert trend_markdown(collect(tmp_path), str) == "There are no published runs yet."
    assert trend_line(collect(tmp_path)) == ""


def test_the_digest_counts_runs_and_draws_the_distances_of_the_days(page: FrontPage) -> None:
    assert page.last is not None
    headline, text = digest_of(page, page.last.published - timedelta(days=3), failed=["night-3", "night-2"])
    assert headline == "4 runs published, 1 needs a look, 2 failed"
    assert text == (
        "Look at night-011. Failed: night-3, night-2. Champion: night-005 since 2026-10-06, Fréchet distance 1.4. "
        "conv: Fréchet distance ▁▁▁█ (1.2 to 9.5), last 9.5."
    )
    headline, text = digest_of(page, page.last.published + timedelta(days=1), failed=())
    assert headline == "0 runs published, 0 need a look, 0 failed"
    assert text.startswith("Champion")


def test_a_digest_of_a_long_time_fits_one_message(tmp_path: Path) -> None:
    for night in range(120):
        write_run(tmp_path, night, 9.5 if night > 110 else 1.2, recipe=f"recipe-{night % 4}", name=f"my_run-{night:03}")
    _, text = digest_of(collect(tmp_path), datetime(2026, 1, 1, tzinfo=UTC), failed=())
    assert text.startswith(
        "Look at my_run-119, my_run-118, my_run-117 and 6 more. There is no champion yet. recipe-3: "
    )
    assert plain(text) == text, "it is not cut"


def test_a_chart_belongs_to_the_recipe_of_the_last_run(page: FrontPage, tmp_path: Path) -> None:
    write_run(tmp_path, NIGHTS, recipe="mlp")
    assert trend_line(collect(tmp_path)).startswith("night-012: Too few earlier runs of mlp")


@pytest.mark.parametrize(
    ("age_in_days", "free", "words"),
    [
        (0.5, 1000, ""),  # the rate of a first run says nothing
        (10, 7000, ""),
        (10, 3001, "3.0 kB are free; the disk will be full in 3 days"),
        (10, 900, "the disk will be full in less than a day"),
        (2, 5000, "the disk will be full in 1 day"),  # 7,000 bytes in two days
    ],
)
def test_a_disk_that_fills_within_a_week_is_foretold(tmp_path: Path, monkeypatch, age_in_days, free, words) -> None:
    oldest = time.time() - age_in_days * DAY_SECONDS
    (tmp_path / "README.md").write_bytes(b"")  # part of a checkout: it may be older than the first run
    os.utime(tmp_path / "README.md", (0, 0))
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "oldest").write_bytes(b"")
    os.utime(tmp_path / "store" / "oldest", (oldest, oldest))
    for name in range(7):
        (tmp_path / f"{name}").write_bytes(b"x" * 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda root: SimpleNamespace(free=free))
    found = describe_forecast(tmp_path)
    assert found.startswith(words) if words.startswith("3") else words in found
    assert bool(found) == bool(words)


def test_a_recall_that_measures_no_variety_is_struck_out(tmp_path: Path) -> None:
    write_run(tmp_path, 0, recall=0.27, precision=0.5)
    write_run(tmp_path, 1, recall=0.55)
    markdown = trend_markdown(write_front_page(tmp_path), str)
    html = (tmp_path / FRONT_PAGE).read_text(encoding="utf-8")
    assert "| ~~27 %~~ |" in markdown
    assert "| 55 % |" in markdown
    assert html.replace("\u00a0", " ").count("recall 27 %</s>") == 1


def test_a_chart_without_a_point_is_left_out(tmp_path: Path) -> None:
    for night in range(3):
        write_run(tmp_path, night, precision=0.5)
    assert [chart.title for trend in collect(tmp_path).trends for chart in trend.charts] == ["Fréchet distance"]
