"""The report on small synthetic images: its content, its safety, and that of a comparison."""

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from builders import small_extractor, smooth_pixels
from narrowing import not_none
from PIL import Image
from playwright.sync_api import Browser, Page

from gan.formatting import describe_share
from gan.judging.bootstrap import Difference
from gan.judging.definitions import METRICS, Separation
from gan.judging.features import ALIGNED_PIXELS
from gan.judging.gate import Decision
from gan.judging.judge import Judge, SnapshotJudge
from gan.judging.measured import rounded
from gan.report.blind_test import BlindTest
from gan.report.comparison import Contestant, compare_runs
from gan.report.exhibits import MAX_SNAPSHOTS, Findings, make_exhibits
from gan.report.page import Report, render_comparison, render_html, render_markdown
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
    return np.random.default_rng(seed).integers(0, 256, (num, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(small_extractor(10), smooth_pixels(300, 0), smooth_pixels(150, 1), n=150, seed=0)


@pytest.fixture(scope="module")
def findings(judge) -> Findings:
    fake, average = noise(150, 2), smooth_pixels(150, 3)
    snapshot_judge = SnapshotJudge(judge.extractor, smooth_pixels(150, 1), 40)
    snapshots = np.stack([noise(40, step) for step in range(NUM_SNAPSHOTS - 1)] + [smooth_pixels(40, 4)])
    return Findings(
        judge=judge,
        class_names=(HOSTILE, *(f"class {label}" for label in range(1, 10))),
        train_pixels=smooth_pixels(300, 0),
        test_labels=np.arange(150) % 10,
        fake_pixels=fake,
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


@pytest.fixture(scope="module")
def report(findings, tmp_path_factory) -> Report:
    tmp_path = tmp_path_factory.mktemp("pictures")
    (tmp_path / "interpolation.png").write_bytes(png_bytes(draw_grid(smooth_pixels(4, 5), 2, scale=2)))
    (tmp_path / "training.webp").write_bytes(
        animation_bytes([draw_grid(noise(4, step), 2, scale=2) for step in range(3)])
    )
    average, fake = findings.average_pixels, findings.fake_pixels
    shapes: list[tuple[int | None, ...]] = [(None, 100)]
    this = Contestant("This run", smooth_pixels(32, 6), shapes, average, average, {"seed": "1"})
    other = Contestant(HOSTILE, noise(32, 7), shapes, fake, average, {"seed": HOSTILE, "device": "CPU"})
    against = compare_runs(findings.judge, this, other, seed=0)
    return Report(
        title=f"{HOSTILE}: real and generated",
        run_name="own-article",
        subtitle="recipe article",
        metrics=findings.judge.metrics(findings.last, findings.average),
        extractor_sha256=findings.judge.extractor.sha256,
        warnings=["Mode collapse after 500 steps"],
        exhibits=make_exhibits(findings, seed=0),
        animation=tmp_path / "training.webp",
        interpolation=tmp_path / "interpolation.png",
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
    num_rows = sum(1 + bool(len(row.fake)) for row in report.exhibits.classes) + 4
    assert len(widths) == 3 + num_rows + 2 + 2 + NUM_SNAPSHOTS + 1 + 1
    assert min(widths) > 0
    assert page.locator("svg").count() >= 4


def test_a_report_says_how_uncertain_its_percentages_are(report) -> None:
    for text in (render_html(report).replace("\u00a0", " "), render_markdown(report)):
        assert (
            "Another 150 images would change a percentage by up to about 8 percentage points in 19 of 20 cases"
            in " ".join(text.split())
        )


def test_a_report_shows_how_often_the_requested_class_was_drawn_and_images_of_it(findings, report) -> None:
    judge = findings.judge
    asked = np.roll(findings.last.fake.classes, 15)
    asked[:75] = findings.last.fake.classes[:75]
    conditional = replace(findings, asked_labels=np.concatenate([asked, [0, 0]]))
    shares = conditional.asked_classes
    assert shares.value == rounded((findings.last.fake.classes == asked).mean()) >= 0.5
    assert shares.average == rounded((findings.average.fake.classes == asked).mean())
    assert shares.real == rounded((judge.test.classes == conditional.test_labels[judge.test_rows]).mean())
    rows = make_exhibits(conditional, seed=0).classes
    assert [row.fake_rows.tolist() for row in rows] == [np.flatnonzero(asked == k)[:10].tolist() for k in range(10)]
    assert findings.asked_classes is None
    page, digest = (render(replace(report, asked_classes=shares)) for render in (render_html, render_markdown))
    for text in (page.replace("\u00a0", " "), digest):
        assert all(describe_share(share) in text for share in (shares.value, shares.average, shares.real))
        assert "requested class" in text
    assert "requested class" not in render_html(report) + render_markdown(report)


def test_the_page_says_what_the_gate_decided_and_why(page: Page) -> None:
    assert "Does not pass the gate against the champion" in page.locator(".verdict").nth(2).inner_text()
    row = page.get_by_role("table", name="Against the champion").locator("tr").nth(1).inner_text()
    assert re.sub(r"\s+", " ", row) == "Recall, up to real 10 % 41.2 % −30 % −40 to −20 % worse"


def test_warnings_about_the_data_are_marked_as_such(report) -> None:
    page, digest = render_html(report), render_markdown(report)
    assert "<strong>About the data:</strong> No training images of &lt;b&gt;Bag&lt;/b&gt;" in page
    assert "> **About the data:** No training images of &lt;b&gt;Bag&lt;/b&gt;" in digest
    assert "About the data" not in render_html(replace(report, data_warnings=[]))
    assert "About the data" not in render_markdown(replace(report, data_warnings=[]))


def test_hostile_text_is_shown_as_text(page: Page) -> None:
    assert page.title().startswith("own-article · <img src=x"), "the title is text, and no script has changed it"
    assert page.locator("img[src=x]").count() == 0
    assert page.locator(f"text={HOSTILE.split('|')[0].strip()}").count() >= 3


@pytest.mark.parametrize("width", [320, 375, 1200])
def test_no_part_of_the_page_is_wider_than_its_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


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


def test_no_image_of_the_blind_test_is_shown_elsewhere_on_the_page(findings) -> None:
    judge = Judge(findings.judge.extractor, smooth_pixels(900, 0), smooth_pixels(700, 1), n=700, seed=0)
    fake = noise(700, 2)
    found = replace(
        findings,
        judge=judge,
        train_pixels=smooth_pixels(900, 0),
        test_labels=np.arange(700) % 10,
        fake_pixels=fake,
        average_pixels=fake,
        last=judge.examine(fake),
        average=judge.examine(fake),
    )
    exhibits = make_exhibits(found, seed=0)
    shown = [*(row.fake for row in exhibits.classes), *(row.fake for row in exhibits.neighbours)]
    asked = tiles_of(not_none(exhibits.test))
    for pixels in (*(row.real for row in exhibits.classes), *shown, fake[:64]):
        assert not {image.tobytes() for image in pixels} & asked
    assert len(asked) == 240


def tiles_of(test: BlindTest) -> set[bytes]:
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(test.sheet.partition(",")[2]))).convert("L"))
    rows, columns = sheet.shape[0] // 28, sheet.shape[1] // 28
    tiles = sheet.reshape(rows, 28, columns, 28).swapaxes(1, 2).reshape(-1, 28, 28)
    return {tile.tobytes() for tile in tiles[: test.num_tiles]}


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


def test_a_report_of_many_noisy_snapshots_stays_below_four_megabytes(findings, report, tmp_path) -> None:
    num = 250
    snapshots = np.stack([noise(64, step) for step in range(num)])
    many = with_snapshots(findings, snapshots)
    frames = [draw_grid(pixels, 8, scale=3, caption="step") for pixels in snapshots]
    (tmp_path / "many.webp").write_bytes(animation_bytes(frames))
    exhibits = make_exhibits(many, seed=0)
    assert len(exhibits.snapshots) <= MAX_SNAPSHOTS + 1
    assert len(render_html(replace(report, exhibits=exhibits, animation=tmp_path / "many.webp")).encode()) < 4e6


def test_page_and_digest_show_each_number_beside_its_floor_its_n_and_its_features(report) -> None:
    page, digest = render_html(report), render_markdown(report)
    for metric in report.metrics:
        row = next(line for line in digest.splitlines() if line.startswith(f"| {metric.title} |"))
        for part in (metric.value, metric.average, metric.floor):
            assert f" {metric.describe(part)} " in row
            assert metric.describe(part).replace(" %", "\u00a0%") in page
        n = "150 (floor 75)" if metric.extractor == ALIGNED_PIXELS else "150"
        assert f"| {n} | {metric.extractor} |" in row
        assert metric.extractor in page
    assert report.extractor_sha256[:16] in page
    assert report.extractor_sha256[:16] in digest
    assert "not an FID" in page
    assert "not an FID" in digest


def test_page_and_digest_list_what_differs_from_the_other_run_and_the_commits(page: Page, report) -> None:
    cells = [row.all_inner_texts() for row in page.locator("table.changes tr").all()]
    assert [text.split("\t") for (text,) in cells[1:]] == [["seed", "1", HOSTILE], ["device", "none", "CPU"]]
    assert page.locator("li", has_text="abc1234").inner_text() == f"abc1234 {HOSTILE}"
    digest = render_markdown(report)
    assert "| What differs | This run |" in digest
    assert "| device | none | CPU |" in digest
    assert "- abc1234" in digest


def test_the_digest_is_valid_markdown_for_any_text(report) -> None:
    digest = render_markdown(report)
    assert "<img" not in digest
    assert not re.search(r"(?<!\\)\]\(", digest), "no link"
    assert "://" not in digest, "no address that would become a link"
    previous = 0
    for line in digest.splitlines():
        if line.startswith("|"):
            columns = len(re.findall(r"(?<!\\)\|", line))
            assert columns == (previous or columns), line
            previous = columns
        else:
            previous = 0


def test_the_verdict_says_in_one_sentence_what_is_wrong(report, findings) -> None:
    linear = {metric.name: metric for metric in report.metrics}["two_sample_accuracy"]
    assert (report.separation.accuracy, linear.average) == (0.72, pytest.approx(0.5, abs=0.15))
    assert report.verdict == (
        "Can sometimes be told from real images: a trained network is right for 72 % of unseen images (guessing: 50 %)."
    )
    easy = replace(report, separation=report.separation.model_copy(update={"accuracy": 0.96}))
    assert easy.verdict.startswith("Easy to tell from real images: a trained network is right for 96 %")
    judge = findings.judge
    noisy = replace(report, metrics=judge.metrics(findings.average, findings.last))
    assert noisy.verdict.startswith("Easy to tell from real images: a linear classifier on features is right for")
    copies = judge.examine(findings.train_pixels[:150])
    copying = replace(report, metrics=judge.metrics(copies, copies))
    assert copying.verdict.startswith("The generator copies training images: 100 % of its images are near copies")


def test_the_tiles_show_the_values_of_real_images_and_of_the_champion(report) -> None:
    assert [tile.title for tile in report.tiles] == [
        "Told from real",
        "Fréchet distance",
        "Recall",
        "Coverage",
    ]
    told, distance, recall, _ = report.tiles
    assert (told.value, told.real, told.champion) == ("72 %", "50 %", "")
    assert (told.length, told.mark) == (pytest.approx(44), pytest.approx(0.6))
    assert (recall.champion, distance.champion) == ("41 %", "")
    assert distance.mark == 0
    floor = next(metric.floor for metric in report.metrics if metric.name == "coverage")
    row = GATE.differences[0].model_copy(update={"name": "coverage", "other": floor})
    as_real = replace(report, gate=GATE.model_copy(update={"differences": (row,)}))
    assert as_real.tiles[3].champion == f"at least {describe_share(floor)}", "a comparison counts no more than that"
    for tile in report.tiles:
        assert 0 <= tile.length <= 100
    page = render_html(report)
    assert page.count('<div class="tile">') == 4
    assert "real images: 50\u00a0%" in page, "a line never breaks before a per cent sign"


def test_equal_arguments_give_equal_pages(report, findings) -> None:
    again = replace(report, exhibits=make_exhibits(findings, seed=0))
    assert render_html(again) == render_html(report)


def test_a_comparison_is_a_page_by_itself(browser: Browser, report, tmp_path) -> None:
    path = tmp_path / "comparison.html"
    path.write_text(render_comparison(report.against, "Tiny"), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    assert min(page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")) > 0
    assert page.locator(".metrics tr").count() == 2 * (1 + len(METRICS))
    assert page.locator(".changes tr").count() == 1 + len(report.against.changes)
    page.close()
