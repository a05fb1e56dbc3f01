import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from scipy.stats import binomtest

from gan.report import blind_test
from gan.report.blind_test import BlindTest, make_blind_test

NUM_IMAGES = 120
IMAGES = np.random.default_rng(0).integers(0, 256, (2 * NUM_IMAGES, 28, 28), dtype=np.uint8)
REAL, FAKE = IMAGES[:NUM_IMAGES], IMAGES[NUM_IMAGES:]

READ_CANVAS = """canvas => {
    const copy = new OffscreenCanvas(28, 28).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    return [...copy.getImageData(0, 0, 28, 28).data].filter((_, index) => index % 4 === 0);
}"""


def read_sheet(test: BlindTest) -> np.ndarray:
    """Tiles of the sheet, uint8 (n, 28, 28), in its order."""
    content = base64.b64decode(test.sheet.removeprefix("data:image/png;base64,"))
    sheet = np.asarray(Image.open(BytesIO(content)))
    rows = sheet.reshape(-1, 28, test.columns, 28).swapaxes(1, 2)
    return rows.reshape(-1, 28, 28)


def read_key(test: BlindTest) -> np.ndarray:
    """The algorithm of the page's script, in the test's own words."""
    value = 2166136261
    for byte in test.sheet.encode("ascii"):
        value = (value ^ byte) * 16777619 % 2**32
    answers = []
    for index, byte in enumerate(base64.b64decode(test.key)):
        value = (value ^ index) * 16777619 % 2**32
        answers += [int(digit) for digit in f"{byte ^ value >> 24:08b}"]
    return np.array(answers[: test.num_tiles], dtype=bool)


TEST = make_blind_test(REAL, FAKE, seed=5)
IS_REAL = dict(zip((tile.tobytes() for tile in read_sheet(TEST)), read_key(TEST).tolist(), strict=True))


def test_equal_images_and_seed_give_equal_bytes_and_another_seed_another_order() -> None:
    assert make_blind_test(REAL, FAKE, seed=5) == TEST
    assert make_blind_test(REAL, FAKE, seed=6).sheet != TEST.sheet


def test_the_sheet_holds_every_image_once_and_the_key_tells_the_real_ones() -> None:
    assert TEST.num_tiles == len(IS_REAL) == 2 * NUM_IMAGES
    assert {image for image, real in IS_REAL.items() if real} == {image.tobytes() for image in REAL}
    assert {image for image, real in IS_REAL.items() if not real} == {image.tobytes() for image in FAKE}


def test_the_order_is_mixed_and_the_key_is_not_the_bare_answers() -> None:
    is_real = read_key(TEST)
    assert 40 < is_real[:NUM_IMAGES].sum() < 80
    assert base64.b64decode(TEST.key) != np.packbits(is_real).tobytes()


def test_what_is_left_of_the_last_row_is_black() -> None:
    test = make_blind_test(REAL[:13], FAKE[:13], seed=0)
    tiles = read_sheet(test)
    assert (test.columns, test.num_tiles, len(tiles)) == (20, 26, 40)
    assert not tiles[26:].any()
    assert sorted(tile.tobytes() for tile in tiles[:26][read_key(test)]) == sorted(tile.tobytes() for tile in REAL[:13])


@pytest.mark.parametrize(("num_images", "num_questions"), [(6, 6), (39, 39), (120, 40)])
def test_a_game_is_never_longer_than_one_kind_can_fill(num_images: int, num_questions: int) -> None:
    assert make_blind_test(REAL[:num_images], FAKE[:num_images], seed=0).num_questions == num_questions


@pytest.mark.parametrize(
    ("real", "fake", "words"),
    [
        (REAL.astype(np.float32), FAKE, "real images of float32 and shape .120, 28, 28.; it expects uint8"),
        (REAL, FAKE[..., np.newaxis], "fake images of uint8 and shape .120, 28, 28, 1.; it expects uint8"),
        (REAL, FAKE[:7], "120 real and 7 fake images; it expects as many of either"),
        (REAL[:5], FAKE[:5], "5 real and 5 fake images; it expects .* at least 6"),
    ],
)
def test_other_images_are_refused_with_what_was_expected(real: np.ndarray, fake: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_blind_test(real, fake, seed=0)


def render_page(test: BlindTest) -> str:
    """A page around the section, as strict as the report: nothing runs but the one script."""
    folder = Path(blind_test.__file__).parent
    environment = Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined)
    section = environment.get_template("blind_test.html.jinja").render(test=test)
    script = (folder / "blind_test.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Test</title>
        <meta http-equiv="Content-Security-Policy"
          content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <style>* {{ box-sizing: border-box; }} body {{ margin: 0; }} main {{ padding: 20px; }}
        .far {{ height: 3000px; }} {(folder / "blind_test.css").read_text()}</style></head>
        <body><main>{section}<p>Text <input aria-label="elsewhere"></p><div class="far"></div></main>
        <script>{script}</script></body></html>"""


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens the page in a context of its own; in the end, nothing was complained of and nothing asked from outside."""
    pages, complaints = [], []

    def open_it(test: BlindTest = TEST, **context) -> Page:
        file = tmp_path / "page.html"
        file.write_text(render_page(test), encoding="utf-8")
        page = browser.new_context(**context).new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url) if is_outside(request.url) else None)
        page.goto(file.as_uri())
        pages.append(page)
        return page

    def is_outside(url: str) -> bool:
        return not url.startswith("data:") and url != (tmp_path / "page.html").as_uri()

    yield open_it
    for page in pages:
        page.context.close()
    assert complaints == []


@dataclass
class Blind:
    """The parts of the section that a reader sees."""

    page: Page

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name)

    def part(self, name: str) -> Locator:
        return self.page.locator(f'[data-part="{name}"]')

    @property
    def progress(self) -> Locator:
        return self.page.get_by_role("status")

    @property
    def tiles(self) -> list[Locator]:
        return self.part("board").get_by_role("button").all()

    def is_real(self, place: Locator) -> bool:
        return IS_REAL[bytes(place.evaluate(READ_CANVAS))]

    def board_is_real(self) -> list[bool]:
        return [self.is_real(tile.locator("canvas")) for tile in self.tiles]

    def answer_by_keys(self, is_right: list[bool]) -> list[bool]:
        """Plays a game one at a time, right where told; returns which images were real."""
        shown = []
        for number, right in enumerate(is_right, start=1):
            expect(self.progress).to_have_text(f"Image {number} of {len(is_right)}")
            shown.append(self.is_real(self.part("picture")))
            self.page.keyboard.press("r" if shown[-1] == right else "g")
        return shown

    def group_counts(self) -> dict[str, int]:
        counts = {}
        for name in ("fooled", "caught", "recognised", "doubted"):
            counts[name] = self.part(name).locator("canvas").count()
            assert self.part(name).get_by_role("heading").inner_text().endswith(f": {counts[name]}")
        return counts


def test_a_perfect_player_by_keyboard_alone_tells_them_apart(open_page: Open) -> None:
    blind = Blind(open_page())
    blind.page.keyboard.press("Tab")
    expect(blind.button("One at a time")).to_be_focused()
    blind.page.keyboard.press("Enter")
    real = sum(blind.answer_by_keys([True] * 40))
    expect(blind.part("score")).to_have_text("40 of 40 right (100 %), 95 % interval 91 to 100 %")
    expect(blind.part("score")).to_be_focused()
    expect(blind.part("verdict")).to_contain_text("Can be told apart")
    assert blind.group_counts() == {"fooled": 0, "caught": 40 - real, "recognised": real, "doubted": 0}


def test_a_player_who_tosses_coins_is_shown_as_one(open_page: Open) -> None:
    blind = Blind(open_page())
    blind.button("One at a time").click()
    is_right = [bool(bit) for bit in np.random.default_rng(0).permutation(40) % 2]
    shown = blind.answer_by_keys(is_right)
    expect(blind.part("score")).to_have_text("20 of 40 right (50 %), 95 % interval 34 to 66 %")
    expect(blind.part("verdict")).to_have_text(
        "Cannot be told apart by this reader in 40 images: the interval holds 50 %, which is guessing."
    )
    pairs = list(zip(shown, is_right, strict=True))
    assert blind.group_counts() == {
        "fooled": pairs.count((False, False)),
        "caught": pairs.count((False, True)),
        "recognised": pairs.count((True, True)),
        "doubted": pairs.count((True, False)),
    }


def test_score_interval_and_verdict_are_those_of_the_exact_binomial_interval(open_page: Open) -> None:
    blind = Blind(open_page())
    blind.button("One at a time").click()
    for right in (0, 13, 14, 26, 27, 28):
        blind.answer_by_keys([True] * right + [False] * (40 - right))
        low, high = binomtest(right, 40).proportion_ci(confidence_level=0.95, method="exact")
        expect(blind.part("score")).to_have_text(
            f"{right} of 40 right ({np.floor(right / 0.4 + 0.5):.0f} %), "
            f"95 % interval {100 * low:.0f} to {100 * high:.0f} %"
        )
        left, width = blind.part("interval").evaluate("bar => [bar.style.left, bar.style.width].map(parseFloat)")
        assert (left, left + width) == pytest.approx((100 * low, 100 * high), abs=1e-3)
        words = "Can be" if low > 0.5 else "Told apart, but the wrong way round" if high < 0.5 else "Cannot be"
        expect(blind.part("verdict")).to_contain_text(words)
        blind.button("Play again").click()


def test_an_interval_that_just_misses_50_is_not_rounded_onto_it(open_page: Open) -> None:
    test = make_blind_test(REAL[:17], FAKE[:17], seed=0)
    blind = Blind(open_page(test))
    blind.button("One at a time").click()
    blind.answer_by_keys([True] * 13 + [False] * 4)
    expect(blind.part("score")).to_have_text("13 of 17 right (76 %), 95 % interval 50.1 to 93 %")
    expect(blind.part("verdict")).to_contain_text("Can be told apart")


def test_one_at_a_time_by_mouse_and_arrows_and_answers_can_be_taken_back(open_page: Open) -> None:
    blind = Blind(open_page())
    blind.button("One at a time").click()
    expect(blind.button("Take back")).to_be_disabled()
    first = blind.part("picture").evaluate(READ_CANVAS)
    blind.button("Real").click()
    blind.page.keyboard.press("ArrowRight")
    expect(blind.progress).to_have_text("Image 3 of 40")
    blind.page.keyboard.press("Backspace")
    blind.button("Take back").click()
    expect(blind.progress).to_have_text("Image 1 of 40")
    assert blind.part("picture").evaluate(READ_CANVAS) == first
    for _ in range(40):
        blind.page.keyboard.press("ArrowLeft" if blind.is_real(blind.part("picture")) else "ArrowRight")
    expect(blind.part("score")).to_contain_text("40 of 40 right")


def test_a_board_by_mouse(open_page: Open) -> None:
    blind = Blind(open_page())
    blind.button("As a board").click()
    is_real = blind.board_is_real()
    tiles = blind.tiles
    for tile, real in zip(tiles, is_real, strict=True):
        if not real:
            tile.click()
    expect(blind.progress).to_have_text(f"{40 - sum(is_real)} of 40 marked as generated")
    tiles[7].click()
    expect(tiles[7]).to_have_attribute("aria-pressed", str(is_real[7]).lower())
    blind.button("Finish").click()
    expect(blind.part("score")).to_contain_text("39 of 40 right")
    counts = blind.group_counts()
    assert (counts["fooled"], counts["doubted"]) == ((0, 1) if is_real[7] else (1, 0))


def test_a_board_by_touch_on_a_phone(open_page: Open) -> None:
    blind = Blind(open_page(has_touch=True, is_mobile=True, viewport={"width": 360, "height": 740}))
    blind.button("As a board").tap()
    is_real = blind.board_is_real()
    for tile, real in zip(blind.tiles, is_real, strict=True):
        if real:
            tile.tap()
    blind.button("Finish").tap()
    expect(blind.part("score")).to_contain_text("0 of 40 right (0 %), 95 % interval 0 to 9 %")
    expect(blind.part("verdict")).to_have_text(
        "Told apart, but the wrong way round: the generated ones look more real."
    )
    expect(blind.part("score")).to_be_in_viewport()
    counts = {"fooled": 40 - sum(is_real), "caught": 0, "recognised": 0, "doubted": sum(is_real)}
    assert blind.group_counts() == counts


def test_a_board_by_keyboard(open_page: Open) -> None:
    blind = Blind(open_page(viewport={"width": 1200, "height": 900}))
    press = blind.page.keyboard.press
    press("Tab")
    press("Tab")
    press("Enter")
    tiles = blind.tiles
    expect(tiles[0]).to_be_focused()
    press("ArrowUp")  # nothing is there
    press("ArrowDown")
    expect(tiles[10]).to_be_focused()
    press("ArrowUp")
    for tile, real in zip(tiles, blind.board_is_real(), strict=True):
        expect(tile).to_be_focused()
        if not real:
            press("Space")
        press("ArrowRight")
    expect(tiles[39]).to_be_focused()
    press("Enter")
    expect(tiles[39]).to_have_attribute("aria-pressed", str(blind.board_is_real()[39]).lower())  # as Space: turned
    press("Enter")
    press("f")
    expect(blind.part("score")).to_contain_text("40 of 40 right")


def test_tab_goes_past_the_board_and_enter_leaves_where_leave_has_the_focus(open_page: Open) -> None:
    blind = Blind(open_page())
    blind.button("As a board").click()
    blind.page.keyboard.press("Tab")
    expect(blind.button("Finish")).to_be_focused()
    blind.page.keyboard.press("Tab")
    blind.page.keyboard.press("Enter")
    expect(blind.button("As a board")).to_be_focused()


@pytest.mark.parametrize("way", ["One at a time", "As a board"])
def test_escape_leaves_a_game(open_page: Open, way: str) -> None:
    blind = Blind(open_page())
    blind.button(way).click()
    expect(blind.button(way)).to_be_hidden()
    blind.page.keyboard.press("Escape")
    expect(blind.button(way)).to_be_focused()


def test_a_game_that_was_left_goes_on_where_it_was(open_page: Open) -> None:
    blind = Blind(open_page())
    blind.button("One at a time").click()
    blind.page.keyboard.press("r")
    blind.page.keyboard.press("Escape")
    blind.button("One at a time").click()
    expect(blind.part("single-progress")).to_have_text("Image 2 of 40")
    blind.page.keyboard.press("Escape")
    blind.button("As a board").click()
    blind.tiles[3].click()
    blind.page.keyboard.press("Escape")
    blind.button("As a board").click()
    expect(blind.tiles[3]).to_have_attribute("aria-pressed", "true")
    blind.button("Finish").click()
    blind.button("Play again").click()
    expect(blind.progress).to_have_text("0 of 40 marked as generated")


def test_keys_pressed_elsewhere_do_nothing(open_page: Open) -> None:
    blind = Blind(open_page())
    blind.button("One at a time").click()
    elsewhere = blind.page.get_by_label("elsewhere")
    elsewhere.click()
    blind.page.keyboard.type("rgr")
    for key in ("ArrowLeft", "Backspace", "Escape"):
        blind.page.keyboard.press(key)
    expect(elsewhere).to_have_value("rr")
    expect(blind.progress).to_have_text("Image 1 of 40")
    elsewhere.blur()
    blind.page.keyboard.press("r")
    expect(blind.progress).to_have_text("Image 2 of 40")
    blind.page.evaluate("scrollTo(0, 2500)")
    blind.page.keyboard.press("r")  # the image is out of sight
    blind.page.evaluate("scrollTo(0, 0)")
    expect(blind.progress).to_have_text("Image 2 of 40")


def test_a_key_held_down_is_one_answer_and_a_shortcut_none(open_page: Open) -> None:
    blind = Blind(open_page())
    blind.button("One at a time").click()
    for _ in range(3):
        blind.page.keyboard.down("g")
    blind.page.keyboard.up("g")
    blind.page.keyboard.press("Control+g")
    expect(blind.progress).to_have_text("Image 2 of 40")
    blind.button("Real").focus()
    for _ in range(3):
        blind.page.keyboard.down("Enter")
    blind.page.keyboard.up("Enter")
    expect(blind.progress).to_have_text("Image 3 of 40")


def test_a_coin_decides_each_image_and_no_image_returns_while_there_are_others(open_page: Open) -> None:
    blind = Blind(open_page())
    blind.button("As a board").click()
    shown: list[bytes] = []
    for _ in range(3):
        shown += [bytes(tile.locator("canvas").evaluate(READ_CANVAS)) for tile in blind.tiles]
        blind.button("Finish").click()
        expect(blind.part("seen")).to_be_hidden()
        blind.button("Play again").click()
    assert len(set(shown)) == 120
    assert 25 < sum([IS_REAL[image] for image in shown]) < 95  # outside once in a billion runs


def test_a_game_of_images_seen_before_says_so(open_page: Open) -> None:
    blind = Blind(open_page(make_blind_test(REAL[:6], FAKE[:6], seed=0)))
    blind.button("As a board").click()
    blind.button("Finish").click()
    expect(blind.part("seen")).to_be_hidden()
    blind.button("Play again").click()
    blind.button("Finish").click()
    expect(blind.part("seen")).to_be_visible()


def test_nothing_but_the_pixels_tells_two_tiles_apart(open_page: Open) -> None:
    blind = Blind(open_page())
    blind.button("As a board").click()
    texts = [tile.evaluate("tile => tile.outerHTML").replace('tabindex="0"', 'tabindex="-1"') for tile in blind.tiles]
    assert len({text.replace(f'"Image {number}"', "") for number, text in enumerate(texts, start=1)}) == 1


@pytest.mark.parametrize("width", [320, 360, 800, 1200])
def test_every_view_fits_the_screen_and_shows_whole_pixels(open_page: Open, width: int) -> None:
    blind = Blind(open_page(viewport={"width": width, "height": 740}))

    def check() -> None:
        assert blind.page.evaluate("document.documentElement.scrollWidth") <= width
        sizes = blind.page.locator("canvas:visible").evaluate_all(
            "all => all.flatMap(each => [each.getBoundingClientRect().width, each.getBoundingClientRect().height])"
        )
        assert all(size % 28 == 0 for size in sizes)

    check()
    blind.button("One at a time").click()
    check()
    blind.page.keyboard.press("Escape")
    blind.button("As a board").click()
    check()
    blind.button("Finish").click()
    check()


def test_without_a_screen_or_a_script_one_sentence_stands_there(open_page: Open) -> None:
    sentence = "The blind test needs a screen and JavaScript"
    page = open_page()
    expect(page.get_by_role("button", name="As a board")).to_be_visible()
    expect(page.get_by_text(sentence)).to_be_hidden()
    page.emulate_media(media="print")
    without_script = open_page(java_script_enabled=False)
    for each in (page, without_script):
        expect(each.get_by_text(sentence)).to_be_visible()
        expect(each.get_by_role("button")).to_have_count(0)


def test_the_script_defines_no_global(open_page: Open) -> None:
    page = open_page()
    page.add_init_script("window.before = Object.getOwnPropertyNames(window)")
    page.reload()
    expect(page.get_by_role("button", name="As a board")).to_be_visible()
    added = page.evaluate("Object.getOwnPropertyNames(window).filter(name => !before.includes(name))")
    assert added == ["before"]
    assert page.evaluate("typeof decks + typeof isReal + typeof deal") == "undefined" * 3
