"""The fonts of the letters in pictures. matplotlib is imported when it is used: commands must not wait for it."""

from collections.abc import Iterator, Set
from contextlib import suppress
from functools import cache
from pathlib import Path

from PIL import ImageFont

VARIATION_SELECTORS = range(0xFE00, 0xFE10)
"""Characters without a form of their own, such as the one that asks for the coloured form of an emoji."""


def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font that has all letters of a text: DejaVu, else one of the machine, such as Noto Sans CJK.

    If there is none, it is DejaVu, which draws boxes for the letters that it does not have.
    """
    drawn = {ord(letter) for letter in text if letter.isprintable() and not letter.isspace()}
    letters = frozenset(drawn.difference(VARIATION_SELECTORS))
    return _load(dejavu() if letters <= _letters_of_dejavu() else _font_of_the_machine(letters) or dejavu(), size)


@cache
def dejavu() -> Path:
    """Return the font of matplotlib's charts: Latin, Greek and Cyrillic letters. Pillow's own has only ASCII."""
    from matplotlib import get_data_path

    return Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@cache
def _letters_of_dejavu() -> Set[int]:
    return _letters_of(dejavu())


def _letters_of(font: Path) -> Set[int]:
    from matplotlib.ft2font import FT2Font

    return FT2Font(font).get_charmap().keys()


@cache
def _font_of_the_machine(letters: frozenset[int]) -> Path | None:
    """Return the first font that can draw these letters."""
    text = "".join(map(chr, letters))
    for path in _fonts_of_the_machine():
        with suppress(OSError, RuntimeError):  # a damaged font, or one of bitmaps (emoji), which has fixed sizes
            if letters <= _letters_of(path):
                _load(path, 15).getmask(text)
                return path
    return None


def _fonts_of_the_machine() -> Iterator[Path]:
    """Yield the paths of fonts, with regular ones first."""
    from matplotlib.font_manager import findSystemFonts  # its import reads all fonts

    paths = [Path(found) for found in findSystemFonts()]
    yield from sorted(paths, key=lambda path: ("regular" not in path.stem.casefold(), path.name))


@cache
def _load(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """Load a font. The other layout engine, Raqm, is not on every machine, and it spaces letters differently."""
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
