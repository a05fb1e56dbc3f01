"""The page of the report in a browser: it is whole, safe and legible, and its controls work."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from playwright.sync_api import Browser, Page
from reports import HOSTILE, NUM_SNAPSHOTS, make_findings, make_report, noise, with_snapshots

from gan.judging.definitions import METRICS
from gan.report.exhibits import Findings, make_exhibits
from gan.report.page import Report, render_comparison, render_html, render_markdown


@pytest.fixture(scope="module")
def findings() -> Findings:
    return make_findings()


@pytest.fixture(scope="module")
def report(findings, tmp_path_factory) -> Report:
    return make_report(findings, tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def page_file(report, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_html(report), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser, page_file: Path) -> Iterator[Page]:
    """Open the report in Chromium; an error, a warning or a request fails the test."""
    page = browser.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith(("file:", "data:")) else wrong.append(sent.url))
    page.goto(page_file.as_uri())
    yield page
    assert not wrong
    page.close()


def test_every_picture_is_loaded_and_the_page_makes_no_request(page: Page, report) -> None:
    widths = page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    num_rows = sum(1 + bool(len(row.fake)) for row in report.exhibits.classes)
    num_rows += 2 * len(report.exhibits.neighbours)
    assert len(widths) == 3 + num_rows + 2 + 2 + NUM_SNAPSHOTS + 1 + 1
    assert min(widths) > 0
    assert page.locator("svg").count() >= 4


def test_the_page_says_what_the_gate_decided_and_why(page: Page) -> None:
    assert "Does not pass the gate against the champion" in page.locator(".verdict").nth(2).inner_text()
    row = page.get_by_role("table", name="Against the champion").locator("tr").nth(1).inner_text()
    assert re.sub(r"\s+", " ", row) == "Recall, up to real 10 % 41.2 % −30 % −40 to −20 % worse"


def test_hostile_text_is_shown_as_text(page: Page) -> None:
    assert page.title().startswith("own-article · <img src=x"), "the title is text, and no script has changed it"
    assert page.locator("img[src=x]").count() == 0
    assert page.locator(f"text={HOSTILE.split('|')[0].strip()}").count() >= 3


@pytest.mark.parametrize("width", [320, 375, 1200])
def test_no_part_of_the_page_is_wider_than_its_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_point_of_a_curve_has_a_grid_though_not_every_snapshot_has(browser, findings, report, tmp_path) -> None:
    num = 60
    snapshots = np.stack([noise(20, step) for step in range(num)])
    many = with_snapshots(findings, snapshots)
    exhibits = make_exhibits(many, seed=0)
    (tmp_path / "many.html").write_text(render_html(replace(report, exhibits=exhibits)), "utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "many.html").as_uri())
    shown = {
        page.hover(f"#quality-point-{point}") or page.locator(".film img:visible").get_attribute("alt")
        for point in (1, 2, 30, 31, 58)
    }
    assert len(shown) >= 4
    page.emulate_media(media="print")
    assert page.locator(".film img:visible").count() == len(exhibits.snapshots), "print shows all grids"
    page.close()
    assert render_markdown(replace(report, exhibits=exhibits)).count("\n| 59 | 1 | 1 | 100 % | 100 % |") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_charts_are_legible_in_light_and_dark_mode(page: Page, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    ink, ground = (
        sum(map(int, re.findall(r"\d+", page.evaluate(f"getComputedStyle({of}).{what}"))[:3]))
        for of, what in (
            ("document.querySelector('svg text')", "fill"),
            ("document.body", "backgroundColor"),
        )
    )
    assert abs(ink - ground) > 400


def test_the_slider_and_the_points_of_the_curve_show_the_grid_of_a_snapshot(page: Page) -> None:
    shown = page.locator(".film img:visible")
    assert shown.get_attribute("alt") == "Fixed latents at step 4,000", "the last snapshot is shown first"
    page.locator("#film-slider").focus()
    page.keyboard.press("Home")
    assert shown.get_attribute("alt") == "Fixed latents at step 0"
    assert "Step 0: Fréchet distance" in page.locator(".film output").inner_text()
    page.locator("#quality-point-2").hover()
    assert shown.get_attribute("alt") == "Fixed latents at step 2,000"
    assert page.locator("#quality-recall-2.marked").count() == 1


def test_on_paper_every_grid_is_shown_with_its_step(page: Page) -> None:
    assert page.locator(".film small:visible").count() == 0
    page.emulate_media(media="print")
    assert page.locator(".film img:visible").count() == NUM_SNAPSHOTS
    assert page.locator(".film small:visible").all_inner_texts() == [f"Step {step:,}" for step in range(0, 5000, 1000)]


def test_the_blind_test_can_be_played_in_the_page(page: Page) -> None:
    page.get_by_role("button", name="One at a time").click()
    for _ in range(40):
        page.keyboard.press("r")
    assert re.search(r"\d+ of 40 right", page.locator("#blind-test").inner_text())


def test_without_scripts_the_last_grid_is_shown(browser: Browser, page_file: Path) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(page_file.as_uri())
    assert page.locator(".film img:visible").count() == 1
    page.close()


def test_page_and_digest_list_what_differs_from_the_other_run_and_the_commits(page: Page, report) -> None:
    cells = [row.all_inner_texts() for row in page.locator("table.changes tr").all()]
    assert [text.split("\t") for (text,) in cells[1:]] == [["seed", "1", HOSTILE], ["device", "none", "CPU"]]
    assert page.locator("li", has_text="abc1234").inner_text() == f"abc1234 {HOSTILE}"
    digest = render_markdown(report)
    assert "| What differs | This run |" in digest
    assert "| device | none | CPU |" in digest
    assert "- abc1234" in digest


def test_a_comparison_is_a_page_by_itself(browser: Browser, report, tmp_path) -> None:
    path = tmp_path / "comparison.html"
    path.write_text(render_comparison(report.against, "Tiny"), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    assert min(page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")) > 0
    assert page.locator(".metrics tr").count() == 2 * (1 + len(METRICS))
    assert page.locator(".changes tr").count() == 1 + len(report.against.changes)
    page.close()
