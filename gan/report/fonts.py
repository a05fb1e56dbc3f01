"""The fonts of the letters in pictures. matplotlib is imported when it is used: commands must not wait for it."""

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from PIL import ImageFont


@cache
def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font that has all letters of a text: DejaVu, else one of the machine, such as Noto Sans CJK.

    If there is none, it is DejaVu, which draws boxes for the letters that it does not have.
    """
    from matplotlib.ft2font import FT2Font

    letters = {ord(letter) for letter in text if letter.isprintable() and not letter.isspace()}
    for path in _fonts():
        with suppress(OSError, RuntimeError):  # a damaged font, or one of pictures (emoji), which has fixed sizes
            if letters <= FT2Font(path).get_charmap().keys():
                return _load(path, size)
    return _load(dejavu(), size)


def dejavu() -> Path:
    """Return the font of matplotlib's charts: Latin, Greek and Cyrillic letters. Pillow's own has only ASCII."""
    from matplotlib import get_data_path

    return Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def _fonts() -> Iterator[Path]:
    """Yield the path of DejaVu, then those of the machine's fonts, with regular ones first."""
    yield dejavu()
    from matplotlib.font_manager import findSystemFonts  # its import reads all fonts

    paths = [Path(found) for found in findSystemFonts()]
    yield from sorted(paths, key=lambda path: ("regular" not in path.stem.casefold(), path.name))


def _load(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """Load a font. The other layout engine, Raqm, is not on every machine, and it spaces letters differently."""
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
