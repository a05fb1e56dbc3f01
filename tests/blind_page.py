"""A blind test of random pixels, and its section of the report in a browser."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image
from playwright.sync_api import Locator, Page, expect

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
    """Return the tiles of the sheet in order, uint8 (n, 28, 28)."""
    content = base64.b64decode(test.sheet.removeprefix("data:image/png;base64,"))
    sheet = np.asarray(Image.open(BytesIO(content)))
    rows = sheet.reshape(-1, 28, test.columns, 28).swapaxes(1, 2)
    return rows.reshape(-1, 28, 28)


def read_key(test: BlindTest) -> np.ndarray:
    """Decrypt the answers; an independent implementation of the script's algorithm."""
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


def render_page(test: BlindTest) -> str:
    """Return a page with the section and the Content-Security-Policy of the report."""
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
