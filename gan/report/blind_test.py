"""The blind test of the report: shuffled real and generated images, and a reader who guesses which is which."""

import base64
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from gan.data.pixels import IMAGE_SIZE

GAME_LENGTH = 40
MIN_IMAGES = 6
"""The fewest questions that can settle anything: with five, all right by luck alone happens once in 32 games."""

COLUMNS = 20


@dataclass(frozen=True)
class BlindTest:
    """What the page needs for games: images to draw from, in one sheet, and which of them are real."""

    sheet: str  # data URI of a PNG: tiles of 28 x 28, row by row, no gaps
    columns: int  # tiles in a row of the sheet
    num_tiles: int  # half of them real; what is left of the sheet's last row is black
    key: str  # which tiles are real, masked

    @property
    def num_questions(self) -> int:
        """Images in a game: so many that either kind alone could fill it."""
        return min(GAME_LENGTH, self.num_tiles // 2)


def make_blind_test(real: np.ndarray, fake: np.ndarray, *, seed: int) -> BlindTest:
    """Shuffle real and generated images into one sheet, and mask the answers.

    The mask keeps honest readers honest: neither the page's source nor the order of its images gives an answer away.
    It keeps nobody out who wants in, for the page's own script can read the key, and so can whoever runs it.

    Args:
        real: uint8, shape (n, 28, 28), n >= 6.
        fake: uint8, shape (n, 28, 28), as many.
        seed: Seeds the order; equal arguments give equal bytes.

    Raises:
        ValueError: If a dtype or a shape is any other, or there are fewer of one kind than of the other.
    """
    for name, pixels in (("real", real), ("fake", fake)):
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"make_blind_test got {name} images of {pixels.dtype} and shape {pixels.shape}; it expects uint8 of "
                "shape (n, 28, 28). Pass pixels as denormalize_images() gives them."
            )
    if len(real) != len(fake) or len(real) < MIN_IMAGES:
        raise ValueError(
            f"make_blind_test got {len(real)} real and {len(fake)} fake images; it expects as many of either, and at "
            f"least {MIN_IMAGES}: with fewer, no score could be told from luck."
        )
    tiles = np.concatenate([real, fake])
    order = np.random.default_rng(seed).permutation(len(tiles))
    columns = min(COLUMNS, len(tiles))
    sheet = _draw_sheet(tiles[order], columns)
    return BlindTest(sheet=sheet, columns=columns, num_tiles=len(tiles), key=_mask(order < len(real), sheet))


def _draw_sheet(tiles: np.ndarray, columns: int) -> str:
    """Tiles, uint8 (n, 28, 28), side by side and row by row, as a data URI."""
    rows = -(-len(tiles) // columns)
    cells = np.zeros((rows * columns, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    cells[: len(tiles)] = tiles
    sheet = cells.reshape(rows, columns, IMAGE_SIZE, IMAGE_SIZE).swapaxes(1, 2)
    buffer = BytesIO()
    Image.fromarray(sheet.reshape(rows * IMAGE_SIZE, columns * IMAGE_SIZE)).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _mask(is_real: np.ndarray, sheet: str) -> str:
    """Answers, one bit a tile, highest bit first, under a pad made of the sheet; `readAnswers` of the script undoes it.

    The pad is the hash of the sheet's data URI, led on over 0, 1, 2, ...: of each step the highest byte.
    FNV-1a, 32 bits, Fowler, Noll and Vo 1991: a few characters in either language, and the script need not wait for it.
    """
    value = 0x811C9DC5
    for byte in sheet.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    masked = bytearray()
    for index, answers in enumerate(np.packbits(is_real).tolist()):
        value = (value ^ index) * 0x01000193 & 0xFFFFFFFF
        masked.append(answers ^ value >> 24)
    return base64.b64encode(masked).decode()
