"""The blind test's sheet of images and the key to it."""

import base64

import numpy as np
import pytest
from blind_page import FAKE, IS_REAL, NUM_IMAGES, REAL, TEST, read_key, read_sheet

from gan.report.blind_test import make_blind_test


def test_equal_images_and_seed_give_equal_bytes_and_another_seed_another_order() -> None:
    assert make_blind_test(REAL, FAKE, seed=5) == TEST
    assert make_blind_test(REAL, FAKE, seed=6).sheet != TEST.sheet


def test_the_sheet_holds_every_image_once_and_the_key_marks_the_real_ones() -> None:
    assert TEST.num_tiles == len(IS_REAL) == 2 * NUM_IMAGES
    assert {image for image, real in IS_REAL.items() if real} == {image.tobytes() for image in REAL}
    assert {image for image, real in IS_REAL.items() if not real} == {image.tobytes() for image in FAKE}


def test_the_order_is_mixed_and_the_key_is_not_the_bare_answers() -> None:
    is_real = read_key(TEST)
    assert 40 < is_real[:NUM_IMAGES].sum() < 80
    assert base64.b64decode(TEST.key) != np.packbits(is_real).tobytes()


def test_the_rest_of_the_last_row_is_black() -> None:
    test = make_blind_test(REAL[:13], FAKE[:13], seed=0)
    tiles = read_sheet(test)
    assert (test.columns, test.num_tiles, len(tiles)) == (20, 26, 40)
    assert not tiles[26:].any()
    assert sorted(tile.tobytes() for tile in tiles[:26][read_key(test)]) == sorted(tile.tobytes() for tile in REAL[:13])


@pytest.mark.parametrize(("num_images", "num_questions"), [(6, 6), (39, 39), (120, 40)])
def test_a_game_is_never_longer_than_the_number_of_real_images(num_images: int, num_questions: int) -> None:
    assert make_blind_test(REAL[:num_images], FAKE[:num_images], seed=0).num_questions == num_questions


@pytest.mark.parametrize(
    ("real", "fake", "words"),
    [
        (REAL.astype(np.float32), FAKE, "real images of float32 and shape .120, 28, 28.; it expects uint8"),
        (REAL, FAKE[..., np.newaxis], "fake images of uint8 and shape .120, 28, 28, 1.; it expects uint8"),
        (REAL, FAKE[:7], "120 real and 7 fake images; it expects equal numbers"),
        (REAL[:5], FAKE[:5], "5 real and 5 fake images; it expects .* at least 6"),
    ],
)
def test_wrong_images_are_refused_with_what_was_expected(real: np.ndarray, fake: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_blind_test(real, fake, seed=0)
