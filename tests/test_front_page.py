"""The front page of an output folder: what is usual, what it shows, and the page in a real browser."""

import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from builders import write_run
from narrowing import not_none
from playwright.sync_api import Browser, Page, expect

from gan.errors import StoreError
from gan.index import index
from gan.report.front_page import FRONT_PAGE, collect, refresh_front_page, write_front_page
from gan.report.opinion import opinion_of
from gan.report.usual import ControlLimits, control_limits
from gan.runs.catalog import read_catalog
from gan.runs.champion import Change, add_change

HOSTILE = "<img src=x onerror=\"document.title='x'\">"

Publish = Callable[..., str]


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    """A function that writes what the front page reads of a published run; returns the name of the run."""
    return partial(write_run, tmp_path)


@pytest.fixture
def month(publish: Publish, tmp_path: Path) -> Path:
    """An output folder with the runs of thirty nights, nearly alike; returns it."""
    for night in range(30):
        publish(night, 1.2 + 0.05 * (night % 5), 0.55 + 0.01 * (night % 3), passes=night == 7)
    change = {"action": "promoted", "generator": f"{7:064}", "before": None}
    add_change(tmp_path, Change(at="2026-10-08T03:00:00+00:00", run="night-007", **change))
    return tmp_path


def written(root: Path) -> str:
    """Write the front page and return its text."""
    write_front_page(root)
    return (root / FRONT_PAGE).read_text()


def last_opinion(root: Path) -> tuple[str, str]:
    entries = read_catalog(root)
    opinion = opinion_of(entries[-1], entries)
    return opinion.words, opinion.tone


def limits_of(values: Sequence[float | None]) -> ControlLimits:
    return not_none(control_limits(values))


def test_runs_of_several_data_sets_name_theirs(publish, tmp_path) -> None:
    publish(0)
    assert "data fashion-mnist" not in written(tmp_path)
    publish(1, dataset="mine")
    text = written(tmp_path)
    assert text.count("· data mine") == 2, "the last run, and its card"
    assert text.count("· data fashion-mnist") == 1


def test_a_tilde_after_an_equals_sign_is_the_home_folder(call, month, monkeypatch) -> None:
    """Bash passes `--output-dir=~/x` as it is; without this a folder named ~ would appear."""
    monkeypatch.setenv("HOME", str(month.parent))
    monkeypatch.chdir(month)
    assert call("gan.index", f"--output-dir=~/{month.name}") == (0, f"{month / FRONT_PAGE}\n")
    assert (month / FRONT_PAGE).is_file()
    assert not (month / "~").exists()


def test_what_is_usual_is_the_median_and_some_standard_deviations_of_earlier_values() -> None:
    assert control_limits([1.0, 2.0, 3.0, 4.0]) is None
    assert control_limits([None, 1.0, 2.0, 3.0, 4.0, None]) is None
    found = limits_of([1.0, 3.0, 2.0, 4.0, 2.0, None])  # differences 2, 1, 2, 2
    assert (found.median, found.low, found.high) == pytest.approx((2, 2 - 6.4 * 2 / 0.954, 2 + 6.4 * 2 / 0.954))
    equal = limits_of([2.0] * 5)
    assert equal.low < 2 < equal.high, "equal seeds give equal numbers"


@pytest.mark.parametrize("runs", [5, 10, 30])
def test_few_equal_runs_are_worse_than_usual_with_any_number_of_earlier_ones(runs: int) -> None:
    values = np.random.default_rng(0).normal(5, 0.5, (4000, runs + 1)).tolist()
    worse = sum(last > limits_of(earlier).high for *earlier, last in values)
    assert 8 <= worse <= 40, "0.4 to 0.7 % of 4,000"


def test_a_lasting_change_is_not_usual_for_two_weeks_and_then_becomes_usual() -> None:
    draw = np.random.default_rng(0).normal
    before = draw(0.71, 0.01, 60).tolist()
    after = draw(0.80, 0.01, 30).tolist()
    is_worse = [value > limits_of([*before, *after[:night]]).high for night, value in enumerate(after)]
    assert all(is_worse[:14])
    assert not any(is_worse[20:])
    better = draw(0.50, 0.01, 30).tolist()
    assert limits_of([*before, *better]).high < 0.6, "the earlier level is forgotten"


def test_a_bad_night_does_not_hide_the_next_one() -> None:
    nights = np.random.default_rng(0).normal(0.71, 0.01, 12).tolist()
    assert limits_of([*nights[:2], 9.0, *nights[2:]]).high < 0.8


@pytest.mark.parametrize(
    ("values", "begins", "tone"),
    [
        ({"distance": 1.3}, "As good as usual. Fréchet distance 1.3, usually 1.3.", "neutral"),
        ({"distance": 2.4}, "Worse than usual: look at it. Fréchet distance 2.4", "bad"),
        (
            {"distance": 2.4, "badge": "Far from real", "reasons": ["It leaves out shirts."]},
            "Worse than usual: look at it. It leaves out shirts. Fréchet distance 2.4",
            "bad",
        ),
        (
            {"distance": 2.4, "badge": "Far from real", "reasons": ["It is too far: its Fréchet distance is 2.4."]},
            "Worse than usual: look at it. It is too far: its Fréchet distance is 2.4. Usually 1.3.",
            "bad",
        ),
        ({"distance": 0.7}, "Better than usual. ", "good"),
        ({"distance": 0.7, "passes": True}, "Better than the champion of its time, beyond noise. ", "good"),
        ({"distance": 0.7, "passes": True, "champion": None}, "Better than usual. ", "good"),
        ({"distance": 1.3, "recall": 0.2}, "Less varied than usual: look at it. Recall 20 %, usually 56 %.", "bad"),
        (
            {"warnings": ["Mode collapse"], "reasons": ["Its training showed signs of collapse: Mode collapse"]},
            "Something is wrong with it. Its training showed signs of collapse: Mode collapse",
            "bad",
        ),
        ({"distance": 1.3, "recall": 0.2, "precision": 0.5}, "Less varied than usual: look at it. Recall 20 %", "bad"),
        ({"distance": 1.3, "recall": 0.9, "precision": 0.5}, "As good as usual. ", "neutral"),
        ({"distance": None, "recall": None}, "Something is wrong with it", "bad"),
        ({"distance": math.nan}, "Something is wrong with it", "bad"),
        ({"recipe": "mlp"}, "Too few earlier runs of mlp with the same settings", "neutral"),
        ({"recipe": "mlp", "passes": True}, "Better than the champion of its time, beyond noise. Fréchet", "good"),
        (
            {"recipe": "mlp", "badge": "Far from real"},
            "Far from real. Recall is worse. Fréchet distance 1.2.",
            "bad",
        ),
        (
            {"distance": 0.7, "badge": "Far from real"},
            "Far from real. ",
            "bad",
        ),
        (
            {"n": 1000, "badge": "Far from real", "reasons": ["It was judged on 1,000 images; a champion needs more."]},
            "Far from real. Its images are far from real or leave out a class. Fréchet",
            "neutral",
        ),
        ({"distance": 1.3, "paper": "another"}, "As good as usual. ", "neutral"),
        ({"learning_rate": 1e-3}, "Too few earlier runs of conv with the same settings", "neutral"),
        (
            {"learning_rate": 1e-3, "badge": "Worse than the champion"},
            "Too few earlier runs of conv with the same settings to say what is usual. Worse than the champion, before",
            "neutral",
        ),
    ],
)
def test_a_run_is_compared_with_the_runs_of_its_recipe_before_it(month, publish, values, begins, tone) -> None:
    publish(40, **values)
    words, found = last_opinion(month)
    assert words.startswith(begins)
    assert found == tone


def test_only_the_first_of_several_runs_that_are_far_from_real_needs_a_look(publish, tmp_path) -> None:
    tones = []
    for night, badge in enumerate(("Far from real", "Far from real", "Not fit for the gate", "Far from real")):
        publish(night, 110.0, badge=badge)
        tones.append(last_opinion(tmp_path)[1])
    assert tones == ["bad", "neutral", "neutral", "bad"]


def test_broken_runs_and_numbers_that_are_not_finite_do_not_change_what_is_usual(month, publish) -> None:
    for night, values in enumerate(({"distance": 50.0, "badge": "Broken"}, {"distance": 60.0, "warnings": ["x"]})):
        publish(40 + night, **values)
    publish(42, math.inf, math.nan)
    publish(43, 2.4)
    assert last_opinion(month)[0].startswith("Worse than usual")
    write_front_page(month)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({}, 0.97),  # the network's
        ({"linear_accuracy": 0.98}, 0.98),
        ({"linear_accuracy": None}, 0.97),
        ({"separation": None}, 0.62),  # a run of an earlier version
        ({"separation": None, "linear_accuracy": None}, None),
    ],
)
def test_the_larger_of_two_accuracies_is_shown_as_in_the_report(publish, tmp_path, values, shown) -> None:
    publish(0, **values)
    assert [entry.two_sample_accuracy for entry in read_catalog(tmp_path)] == [shown]
    page = written(tmp_path)
    assert ("told from real" in page) == (shown is not None)


def test_comparisons_are_linked_the_newest_first(month) -> None:
    (month / "comparisons").mkdir()
    for age, name in enumerate(("b-against-a", "c-against-a", HOSTILE[:4], os.fsdecode(b"\xff"), ".hidden")):
        path = month / "comparisons" / f"{name}.html"
        path.write_text("")
        os.utime(path, (10 - age, 10 - age))
    (month / "comparisons" / "d-against-a.html").symlink_to("nowhere")
    links = re.findall(r'href="comparisons/([^"]*)"', written(month))
    assert links == ["b-against-a.html", "c-against-a.html"]


def test_sweeps_are_linked(month) -> None:
    board = month / "sweeps" / "abcdef" / "leaderboard.html"
    board.parent.mkdir(parents=True)
    board.touch()
    assert 'href="sweeps/abcdef/leaderboard.html"' in written(month)


def test_runs_that_cannot_be_read_are_left_out_and_hostile_words_are_text(month, publish) -> None:
    for number, damage in enumerate((b"", b"{", b'{"published": "soon"}', b"[]", b'"\\ud800"')):
        name = publish(50 + number)
        (month / "runs" / name / "manifest.json").write_bytes(damage)
    (month / "runs" / publish(60) / "metrics.json").unlink()
    (month / "runs" / publish(61, recipe=HOSTILE) / "x").touch()
    (month / "runs" / "a name with spaces").mkdir()
    publish(45, badge=HOSTILE, verdict=HOSTILE)
    page = written(month)
    assert [entry.name for entry in read_catalog(month)][-1] == "night-045"
    assert len(read_catalog(month)) == 31
    assert HOSTILE not in page


def test_the_page_is_made_from_what_is_there(month) -> None:
    shutil.rmtree(month / "runs" / "night-029")
    shutil.rmtree(month / "runs" / "night-007")
    page = collect(month)
    assert (page.last and page.last.name, page.champion_entry) == ("night-028", None)
    assert page.champion
    assert page.champion.at.startswith("2026-10-08")
    assert "night-007 cannot be read" in written(month)
    write_run(month, 7, 3.3, name="night-007", generator="f" * 64)
    assert collect(month).champion_entry is None, "another run has its name now"
    champion = f"champions/night-007-{7:064}"[:-52]
    (month / "champions").mkdir()
    copied = write_run(month, 7, 1.25, name="copy", generator=f"{7:064}")
    (month / "runs" / copied).rename(month / champion)
    page = collect(month)
    assert page.champion_entry
    assert page.champion_folder == champion
    assert (page.champion_entry.name, page.champion_entry.distance) == ("night-007", 1.25)
    assert f'href="{champion}/report.html"' in written(month)
    shutil.rmtree(month / "runs")
    (month / "runs").mkdir()
    index(output_dir=month)
    assert "There are no published runs yet" in (month / "index.html").read_text()


def test_a_page_that_cannot_be_written_is_a_warning(month, caplog) -> None:
    (month / "index.html").mkdir()
    page = refresh_front_page(month)
    assert page, "alerts are sent nevertheless"
    assert f"{month / 'index.html'} could not be written" in caplog.text
    with pytest.raises(StoreError, match=r"index\.html cannot be written: Is a directory"):
        index(output_dir=month)
    assert not list(month.glob(".index*"))


def test_the_last_run_has_the_tone_of_its_report_and_the_reasons_of_the_gate(month, publish) -> None:
    publish(40, badge="Not fit for the gate", reasons=[f"Recall is {HOSTILE}."], champion="night-003")
    page = written(month)
    assert '<span class="badge neutral">Not fit for the gate</span> <span class="opinion neutral">As good' in page
    assert "Recall is &lt;img" in page
    assert "The champion then was night-003.</p>" in page
    publish(41, badge="Far from real", champion="night-007")
    page = written(month)
    assert '<span class="badge bad">Far from real</span>' in page
    assert "Recall is worse." in page
    assert "The champion then was night-007." in page
    publish(42, badge="Passes the gate", passes=True)
    assert '<span class="badge good">Passes the gate</span>' in written(month)
    assert "The champion then was" not in written(month)


def test_a_fault_that_the_opinion_names_is_not_said_again(month, publish) -> None:
    publish(40, badge="Far from real", reasons=["It leaves out shirts.", "Its recall is worse."])
    page = written(month)
    assert page.count("It leaves out shirts.") == 1
    assert '<p class="soft">Its recall is worse.' in page


def test_numbers_that_cannot_be_compared_are_marked(month, publish) -> None:
    assert "not comparable" not in written(month)
    publish(40, n=1000)
    page = written(month)
    assert "(of 10,000 real and as many generated images, cnn features: not comparable with the last run)" in page
    assert page.count("(10,000 images)") == 30


def test_charts_of_one_recipe_with_different_settings_have_different_headings(month, publish) -> None:
    for night in range(40, 43):
        publish(night, learning_rate=1e-3)
    headings = [trend.described for trend in collect(month).trends]
    assert [heading.partition("features")[2] for heading in headings] == [
        "; other settings as in night-042", "; other settings as in night-029"
    ]  # fmt: skip


def test_changes_of_champion_and_code_and_unusual_runs_are_marked(month, publish) -> None:
    publish(40, 2.4, commit="b" * 40)
    points = collect(month).trends[0].charts[0].points
    assert [point.entry.name for point in points if point.became_champion] == ["night-007"]
    assert [point.entry.name for point in points if point.new_code] == ["night-040"]
    assert [point.entry.name for point in points if point.mark != "run"] == ["night-040"]
    assert points[-1].mark == "worse"
    publish(41, 0.4, recall=0.9, badge="Broken")
    distance, recall = (chart.points[-2:] for chart in collect(month).trends[0].charts)
    assert [point.mark for point in distance] == ["worse", "broken"]
    assert [point.mark for point in recall] == ["run", "broken"]
    publish(42, 0.4, recall=0.9)
    assert [chart.points[-1].mark for chart in collect(month).trends[0].charts] == ["better", "better"]


def test_other_code_is_another_commit_or_changes_that_are_in_none(publish, tmp_path) -> None:
    for night, (commit, modified) in enumerate((("a", False), ("a", True), ("a", True), ("b", False))):
        publish(night, commit=commit * 40, modified=modified)
    assert [point.new_code for point in collect(tmp_path).trends[0].charts[0].points] == [False, True, False, True]


def test_runs_that_are_all_far_from_real_have_a_chart_with_their_values(publish, tmp_path) -> None:
    for night in range(3):
        publish(night, 110.0 + night, badge="Far from real")
    chart = collect(tmp_path).trends[0].charts[0]
    assert len({point.y for point in chart.points}) == 3
    assert (chart.low, chart.high) == ("110", "112")


def test_a_collapse_does_not_flatten_the_chart_of_the_other_nights(month, publish) -> None:
    before = collect(month).trends[0].charts[0]
    publish(40, 60.0, badge="Broken")
    after = collect(month).trends[0].charts[0]
    assert (after.low, after.high) == (before.low, before.high)
    assert after.points[-1].y == min(point.y for point in after.points)


@pytest.fixture
def page(browser: Browser, month: Path) -> Iterator[Page]:
    errors: list[str] = []
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    write_front_page(month)
    page.goto((month / FRONT_PAGE).as_uri())
    yield page
    page.close()
    assert not errors


def test_links_lead_to_reports_and_pictures_are_loaded(page: Page) -> None:
    page.wait_for_function("[...document.images].slice(0, 2).every(image => image.naturalWidth > 0)")
    expect(page.locator(".large").first).to_contain_text("As good as usual")
    days = (datetime.now(UTC) - datetime(2026, 10, 30, 3, tzinfo=UTC)).days
    expect(page.locator(".large").first).to_contain_text(f"2026-10-30 03:00 UTC ({days} days ago)")
    expect(page.locator(".large").last).to_contain_text("night-007")
    expect(page.locator(".large").last).to_contain_text("champion since 2026-10-08")
    page.locator(".large").first.get_by_role("link", name="night-029", exact=True).click()
    expect(page).to_have_title("The report")


def test_cards_are_searched_filtered_and_sorted(page: Page) -> None:
    expect(page.locator("output")).to_have_text("30 of 30 runs")
    page.get_by_label("Search").fill("night-01")
    expect(page.locator("output")).to_have_text("10 of 30 runs")
    page.get_by_label("Sort by").select_option("recall")
    expect(page.locator(".card:visible").first).to_contain_text("recall 57\u00a0%")
    page.get_by_label("Recipe").select_option("conv")
    page.get_by_label("Search").fill("nothing like that")
    expect(page.locator("output")).to_have_text("0 of 30 runs")


@pytest.mark.parametrize("width", [320, 844, 1200])
def test_no_part_of_the_page_is_wider_than_its_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_five_hundred_runs_are_less_than_two_megabytes(publish, tmp_path) -> None:
    for night in range(500):
        publish(night, recipe=("conv", "mlp")[night % 2], name=f"conv-25000-seed{20260000 + night}-abcdef")
    assert len(written(tmp_path).encode()) < 2_000_000
    assert all(len(chart.points) == 90 for trend in collect(tmp_path).trends for chart in trend.charts)
