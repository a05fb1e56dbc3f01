"""A game of the blind test in the page: the images, the score and the verdict."""

import numpy as np
import pytest
from blind_page import FAKE, IS_REAL, READ_CANVAS, REAL, Blind, Open
from playwright.sync_api import expect
from scipy.stats import binomtest

from gan.report.blind_test import make_blind_test


def test_a_perfect_player_by_keyboard_alone_tells_them_apart(open_page: Open) -> None:
    blind = Blind(open_page())
    blind.page.keyboard.press("Tab")
    expect(blind.button("One at a time")).to_be_focused()
    blind.page.keyboard.press("Enter")
    real = sum(blind.answer_by_keys([True] * 40))
    expect(blind.part("score")).to_have_text("40 of 40 right (100 %), 95 % interval 91 to 100 %")
    expect(blind.part("score")).to_be_focused()
    expect(blind.part("verdict")).to_contain_text("You can tell them apart: ")
    assert blind.group_counts() == {"fooled": 0, "caught": 40 - real, "recognised": real, "doubted": 0}


def test_a_guessing_player_gets_an_interval_around_50_percent(open_page: Open) -> None:
    blind = Blind(open_page())
    blind.button("One at a time").click()
    is_right = [bool(bit) for bit in np.random.default_rng(0).permutation(40) % 2]
    shown = blind.answer_by_keys(is_right)
    expect(blind.part("score")).to_have_text("20 of 40 right (50 %), 95 % interval 34 to 66 %")
    expect(blind.part("verdict")).to_have_text(
        "You could not tell them apart in 40 images: the interval contains 50 %, which is guessing."
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
        words = "apart: " if low > 0.5 else "apart, but the wrong way round" if high < 0.5 else "could not"
        expect(blind.part("verdict")).to_contain_text(words)
        blind.button("Play again").click()


def test_an_interval_that_just_misses_50_is_not_rounded_onto_it(open_page: Open) -> None:
    test = make_blind_test(REAL[:17], FAKE[:17], seed=0)
    blind = Blind(open_page(test))
    blind.button("One at a time").click()
    blind.answer_by_keys([True] * 13 + [False] * 4)
    expect(blind.part("score")).to_have_text("13 of 17 right (76 %), 95 % interval 50.1 to 93 %")
    expect(blind.part("verdict")).to_contain_text("You can tell them apart: ")


def test_an_unfinished_game_continues_where_it_was_left(open_page: Open) -> None:
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


def test_each_image_is_real_with_probability_one_half_and_none_repeats_while_others_are_left(open_page: Open) -> None:
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


def test_tiles_differ_in_nothing_but_their_pixels(open_page: Open) -> None:
    blind = Blind(open_page())
    blind.button("As a board").click()
    texts = [tile.evaluate("tile => tile.outerHTML").replace('tabindex="0"', 'tabindex="-1"') for tile in blind.tiles]
    assert len({text.replace(f'"Image {number}"', "") for number, text in enumerate(texts, start=1)}) == 1
