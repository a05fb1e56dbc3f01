"""The blind test of the report: the reader guesses which of the shuffled images are real and which are generated."""

import base64
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gan.data.pixels import IMAGE_SIZE, is_pixels
from gan.report.markup import as_data_uri
from gan.report.rendering import png_bytes

GAME_LENGTH, COLUMNS = 40, 20
MIN_IMAGES = 6
"""The shortest game whose score can be significant: five of five answers are right by luck in one of 32 games."""


@dataclass(frozen=True)
class BlindTest:
    """The images of all games of a page, and the answers."""

    sheet: str  # data URI of a PNG: tiles of 28 x 28, row by row, without gaps
    columns: int  # tiles in a row of the sheet
    num_tiles: int  # half of them real; the rest of the sheet's last row is black
    key: str  # which tiles are real, masked

    @property
    def num_questions(self) -> int:
        """Number of images in a game; all of them may be real, or all generated."""
        return min(GAME_LENGTH, self.num_tiles // 2)


def make_blind_test(real: np.ndarray, fake: np.ndarray, *, seed: int) -> BlindTest:
    """Shuffle real and generated images into one sheet, and mask the answers.

    The mask hides the answers from readers of the page's source. It does not prevent cheating, since the page's script
    undoes it.

    Args:
        real: uint8, shape (n, 28, 28), n >= 6: real images.
        fake: uint8, shape (n, 28, 28): generated images, as many as real ones.
        seed: Seed of the order; equal arguments give equal bytes.
    """
    for name, pixels in (("real", real), ("fake", fake)):
        if not is_pixels(pixels):
            raise ValueError(
                f"make_blind_test got {name} images of {pixels.dtype} and shape {pixels.shape}; it expects uint8 of "
                "shape (n, 28, 28). Pass pixels as denormalize_images() gives them."
            )
    if len(real) != len(fake) or len(real) < MIN_IMAGES:
        raise ValueError(
            f"make_blind_test got {len(real)} real and {len(fake)} fake images; it expects equal numbers, at least "
            f"{MIN_IMAGES} of each: with fewer, no score is significant."
        )
    tiles = np.concatenate([real, fake])
    order = np.random.default_rng(seed).permutation(len(tiles))
    columns = min(COLUMNS, len(tiles))
    sheet = _draw_sheet(tiles[order], columns)
    return BlindTest(sheet=sheet, columns=columns, num_tiles=len(tiles), key=_mask(order < len(real), sheet))


def _draw_sheet(tiles: np.ndarray, columns: int) -> str:
    rows = -(-len(tiles) // columns)
    cells = np.zeros((rows * columns, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    cells[: len(tiles)] = tiles
    sheet = cells.reshape(rows, columns, IMAGE_SIZE, IMAGE_SIZE).swapaxes(1, 2)
    return as_data_uri(png_bytes(Image.fromarray(sheet.reshape(rows * IMAGE_SIZE, columns * IMAGE_SIZE))), "png")


def _mask(is_real: np.ndarray, sheet: str) -> str:
    """Encrypt the answers, one bit a tile, highest bit first; `readAnswers` of the script decrypts them.

    The answers are XORed with a stream. The state of the stream starts as the 32-bit FNV-1a hash (Fowler, Noll and Vo
    1991) of the sheet's data URI, and absorbs 0, 1, 2, ...; after each, its highest byte masks one byte of the answers.
    """
    value = 0x811C9DC5
    for byte in sheet.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    masked = bytearray()
    for index, answers in enumerate(np.packbits(is_real).tolist()):
        value = (value ^ index) * 0x01000193 & 0xFFFFFFFF
        masked.append(answers ^ value >> 24)
    return base64.b64encode(masked).decode()
