"""The blind test in the page: mouse, touch and keyboard, screen sizes, and the rest of the page."""

import pytest
from blind_page import READ_CANVAS, Blind, Open
from playwright.sync_api import expect


def test_one_at_a_time_by_mouse_and_arrows_and_answers_can_be_taken_back(open_page: Open) -> None:
    blind = Blind(open_page())
    blind.button("One at a time").click()
    expect(blind.button("Undo")).to_be_disabled()
    first = blind.part("picture").evaluate(READ_CANVAS)
    blind.button("Real").click()
    blind.page.keyboard.press("ArrowRight")
    expect(blind.progress).to_have_text("Image 3 of 40")
    blind.page.keyboard.press("Backspace")
    blind.button("Undo").click()
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
        "You can tell them apart, but the wrong way round: the generated images look more real."
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


@pytest.mark.parametrize("mode", ["One at a time", "As a board"])
def test_escape_leaves_a_game(open_page: Open, mode: str) -> None:
    blind = Blind(open_page())
    blind.button(mode).click()
    expect(blind.button(mode)).to_be_hidden()
    blind.page.keyboard.press("Escape")
    expect(blind.button(mode)).to_be_focused()


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


def test_a_key_held_down_is_one_answer_and_a_shortcut_is_no_answer(open_page: Open) -> None:
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


def test_without_a_screen_or_a_script_one_sentence_is_shown(open_page: Open) -> None:
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
