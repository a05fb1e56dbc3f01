"""The content of the report on small synthetic images: numbers, words, pictures, the digest."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from builders import smooth_pixels
from narrowing import not_none
from PIL import Image
from reports import GATE, make_findings, make_report, noise, with_snapshots

from gan.formatting import describe_share
from gan.judging.judge import AGAINST_TRAINING_IMAGES, Judge
from gan.judging.measured import rounded
from gan.report.blind_test import BlindTest
from gan.report.exhibits import MAX_SNAPSHOTS, Findings, make_exhibits
from gan.report.page import Report, render_html, render_markdown
from gan.report.rendering import animation_bytes, draw_grid, png_bytes, tiles_png


@pytest.fixture(scope="module")
def findings() -> Findings:
    return make_findings()


@pytest.fixture(scope="module")
def report(findings, tmp_path_factory) -> Report:
    return make_report(findings, tmp_path_factory.mktemp("pictures"))


def test_a_report_says_how_uncertain_its_percentages_are(report) -> None:
    for text in (render_html(report).replace("\u00a0", " "), render_markdown(report)):
        assert (
            "With another 150 images, a share of images changes by up to about 11 percentage points in 19 of 20 cases"
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


def test_warnings_about_the_data_are_marked_as_such(report) -> None:
    page, digest = render_html(report), render_markdown(report)
    assert "<strong>About the data:</strong> No training images of &lt;b&gt;Bag&lt;/b&gt;" in page
    assert "> **About the data:** No training images of &lt;b&gt;Bag&lt;/b&gt;" in digest
    assert "About the data" not in render_html(replace(report, data_warnings=[]))
    assert "About the data" not in render_markdown(replace(report, data_warnings=[]))


def test_the_images_shown_as_generated_are_those_of_the_averaged_weights(findings) -> None:
    exhibits, average, statistics = make_exhibits(findings, seed=0), findings.average_pixels, findings.average.fake
    for label, row in enumerate(exhibits.classes):
        rows = np.flatnonzero(statistics.classes == label)
        np.testing.assert_array_equal(row.fake, average[rows[:10]])
        assert findings.class_shares[label].generated == pytest.approx(len(rows) / len(average), rel=1e-5)
    *beside_training, repeated = exhibits.neighbours
    for group in beside_training:
        np.testing.assert_array_equal(group.fake, average[group.shown_rows])
        np.testing.assert_array_equal(group.nearest, findings.train_pixels[statistics.nearest[group.shown_rows]])
    rows, others = np.split(repeated.shown_rows, 2)
    np.testing.assert_array_equal(repeated.fake, average[rows])
    np.testing.assert_array_equal(repeated.nearest, average[others])
    np.testing.assert_array_equal(others, statistics.nearest_other[rows])
    assert statistics.relative_to_other[rows[0]] == statistics.relative_to_other.min()
    assert len({frozenset(pair) for pair in zip(rows, others, strict=True)}) == 10, "each pair is shown once"
    assert exhibits.average_grid == png_bytes(draw_grid(average[:64], 8, scale=2))
    assert exhibits.last_grid == png_bytes(draw_grid(findings.last_pixels[:64], 8, scale=2))
    assert tiles_png(average[:8], 8) == exhibits_below(exhibits.pairs)
    generated, real = ({image.tobytes() for image in pixels} for pixels in (average, findings.judge.test_pixels))
    asked = tiles_of(not_none(exhibits.test))
    assert asked <= generated | real
    assert asked & generated


def test_ten_repeated_images_are_shown_although_all_are_nearest_to_the_same_one(findings) -> None:
    average = findings.average
    hub = average.fake._replace(nearest_other=np.where(np.arange(150), 0, 1), relative_to_other=np.arange(150) / 150)
    exhibits = make_exhibits(replace(findings, average=replace(average, fake=hub)), seed=0)
    rows, others = np.split(exhibits.neighbours[-1].shown_rows, 2)
    np.testing.assert_array_equal(rows, range(10))
    np.testing.assert_array_equal(others, [1, *[0] * 9])


def exhibits_below(pairs: bytes) -> bytes:
    """Return the lower of the two rows of a picture, which has the generated images."""
    picture = Image.open(io.BytesIO(pairs))
    upper = (picture.height + 2) // 2  # two rows, with a gap of two pixels
    return png_bytes(picture.crop((0, upper, picture.width, picture.height)))


def test_no_image_of_the_blind_test_is_shown_elsewhere_on_the_page(findings) -> None:
    judge = Judge(findings.judge.extractor, smooth_pixels(900, 0), smooth_pixels(700, 1), n=700, seed=0)
    fake = noise(700, 2)
    found = replace(
        findings,
        judge=judge,
        train_pixels=smooth_pixels(900, 0),
        test_labels=np.arange(700) % 10,
        last_pixels=fake,
        average_pixels=fake,
        last=judge.examine(fake),
        average=judge.examine(fake),
    )
    exhibits = make_exhibits(found, seed=0)
    shown = [
        *(row.fake for row in exhibits.classes),
        *(row.fake for row in exhibits.neighbours),
        exhibits.neighbours[-1].nearest,
    ]
    asked = tiles_of(not_none(exhibits.test))
    for pixels in (*(row.real for row in exhibits.classes), *shown, fake[:64]):
        assert not {image.tobytes() for image in pixels} & asked
    assert len(asked) == 240


def tiles_of(test: BlindTest) -> set[bytes]:
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(test.sheet.partition(",")[2]))).convert("L"))
    rows, columns = sheet.shape[0] // 28, sheet.shape[1] // 28
    tiles = sheet.reshape(rows, 28, columns, 28).swapaxes(1, 2).reshape(-1, 28, 28)
    return {tile.tobytes() for tile in tiles[: test.num_tiles]}


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
        assert f"| 150 | {metric.extractor} |" in row
        assert metric.extractor in page
    assert report.extractor_sha256[:16] in page
    assert report.extractor_sha256[:16] in digest
    assert "not an FID" in page
    assert "not an FID" in digest


def test_page_and_digest_say_of_how_many_images_a_floor_is_that_has_more_than_were_judged(report) -> None:
    wider = [
        metric.model_copy(update={"floor_n": 9000}) if metric.name in AGAINST_TRAINING_IMAGES else metric
        for metric in report.metrics
    ]
    page, digest = (render(replace(report, metrics=tuple(wider))) for render in (render_html, render_markdown))
    assert "compares each of the 9,000 test images with the others, class by class." in " ".join(page.split())
    assert digest.count("| 150 (floor 9,000) |") == 2


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
    first, *others = report.class_shares
    without = replace(report, class_shares=(first.model_copy(update={"real": 0.3, "generated": 0.0}), *others))
    assert without.verdict == (
        f"The generator makes hardly any images of 1 of 10 classes: {first.name} "
        "(predicted for 0 % of its images, and for 30 % of test images)."
    )
    precision = {metric.name: metric for metric in report.metrics}["precision"]
    low = tuple(
        metric.model_copy(update={"average": 0.8 * not_none(precision.floor)}) if metric is precision else metric
        for metric in report.metrics
    )
    assert not replace(without, metrics=low).verdict.startswith("The generator makes hardly any images")
    chance = replace(report, separation=report.separation.model_copy(update={"accuracy": 0.58}))
    assert chance.verdict == (
        "Too few images to say whether they can be told from real ones: a trained network is right for 58 % of unseen "
        "images (guessing: 50 %, by chance up to 59 % with 150 images)."
    )
    many = tuple(metric.model_copy(update={"n": 10_000}) for metric in report.metrics)
    hardly = replace(report, metrics=many, separation=report.separation.model_copy(update={"accuracy": 0.525}))
    assert hardly.verdict == (
        "Can hardly be told from real images: a trained network is right for 52 % of unseen images (guessing: 50 %)."
    )


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
