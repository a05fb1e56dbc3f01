import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, WebPImagePlugin

from gan.data.catalog import FASHION_MNIST
from gan.models.latents import interpolate_latents, sample_latents
from gan.report.fonts import _font_of_the_machine, dejavu, font_for
from gan.report.rendering import animation_bytes, draw_grid, draw_real_examples, draw_snapshots, png_bytes

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 28, 28), dtype=np.uint8)


def test_a_grid_shows_every_pixel_as_a_crisp_square() -> None:
    grid = np.asarray(draw_grid(PIXELS, 3, scale=4))
    tile = grid[16 : 16 + 112, 16 : 16 + 112]
    np.testing.assert_array_equal(tile, np.kron(PIXELS[0], np.ones((4, 4), np.uint8)))


def test_titles_and_captions_are_drawn_and_must_fit_the_images() -> None:
    plain = draw_grid(PIXELS, 3, scale=4)
    captioned = draw_grid(PIXELS, 3, scale=4, caption="step 1,000")
    titled = draw_grid(PIXELS, 3, scale=4, titles=["Bag"] * 9)
    assert captioned.height > plain.height
    assert titled.height > plain.height
    assert np.asarray(captioned)[16:46].min() < 128, "the caption is drawn above the images"
    narrow = draw_grid(PIXELS[:1], 1, scale=3, caption="1 image, seed 2147483647")
    assert np.asarray(narrow)[:, -16:].min() == 255, "the picture is as wide as its caption"
    with pytest.raises(ValueError, match="2 titles for 9 images"):
        draw_grid(PIXELS, 3, scale=4, titles=["Bag", "Coat"])


@pytest.mark.parametrize("pixels", [PIXELS / 255, PIXELS[0], PIXELS[:0], PIXELS[:, :14]])
def test_anything_but_pixels_is_refused(pixels) -> None:
    with pytest.raises(ValueError, match="it expects uint8 of shape"):
        draw_grid(pixels, 3, scale=2)


def test_the_real_examples_depend_on_the_seed(tiny_images) -> None:
    labels = np.arange(64) % 10
    one, same, other = (draw_real_examples(tiny_images, labels, FASHION_MNIST.class_names, seed=s) for s in (0, 0, 1))
    assert one.tobytes() == same.tobytes() != other.tobytes()


def test_the_animation_has_one_frame_for_each_snapshot_and_is_lossless(tmp_path) -> None:
    snapshots = np.stack([PIXELS, PIXELS[::-1], 255 - PIXELS])
    frames = draw_snapshots(snapshots, (0, 5, 11), num=4, columns=2, scale=2)
    path = tmp_path / "training.webp"
    path.write_bytes(animation_bytes(frames))
    with Image.open(path) as animation:
        assert isinstance(animation, WebPImagePlugin.WebPImageFile)
        assert animation.n_frames == 3
        for number, frame in enumerate(frames):
            animation.seek(number)
            np.testing.assert_array_equal(np.asarray(animation.convert("L")), np.asarray(frame))


def test_equal_pictures_give_equal_bytes(tmp_path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png_bytes(draw_grid(PIXELS, 3, scale=2, caption="x")))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_more_latents_begin_with_the_same_ones() -> None:
    np.testing.assert_array_equal(sample_latents(100, 8, seed=1)[:9], sample_latents(9, 8, seed=1))
    assert sample_latents(9, 8, seed=1).dtype == np.float32


def test_a_path_between_latents_joins_its_ends_and_keeps_their_length() -> None:
    start, end = sample_latents(2, 100, seed=0)
    path = interpolate_latents(start, end, 11)
    np.testing.assert_allclose(path[[0, -1]], [start, end], atol=1e-5)
    lengths = np.linalg.norm(path, axis=1)
    assert lengths.min() > 0.9 * min(lengths[0], lengths[-1]), "a straight line would dip to 0.7"


def test_a_title_wider_than_its_picture_is_cut(tiny_images) -> None:
    def draw(title: str) -> bytes:
        return draw_real_examples(tiny_images[:9], np.zeros(9, int), [title], seed=0).tobytes()

    assert draw("m" * 60) == draw("m" * 50) != draw("mm")


@pytest.fixture
def fonts(tmp_path, monkeypatch) -> Iterator[dict[str, Path]]:
    """Let the machine have three fonts: one is gone, one has a damaged outline for each letter, one is whole."""
    whole = dejavu().with_name("STIXGeneral.ttf").read_bytes()
    paths = {name: tmp_path / f"{name}.ttf" for name in ("a-gone", "b-damaged", "c-whole")}
    paths["c-whole"].write_bytes(whole)
    paths["b-damaged"].write_bytes(with_damaged_outlines(whole))
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: [str(path) for path in paths.values()])
    _font_of_the_machine.cache_clear()
    yield paths
    _font_of_the_machine.cache_clear()


def with_damaged_outlines(font: bytes) -> bytes:
    """Overwrite the table `glyf` of a TrueType font, which has the outlines."""
    num_tables = struct.unpack_from(">H", font, 4)[0]
    tables = {font[at : at + 4]: struct.unpack_from(">II", font, at + 8) for at in range(12, 12 + 16 * num_tables, 16)}
    offset, length = tables[b"glyf"]
    return font[:offset] + b"\xff" * length + font[offset + length :]


def test_a_name_is_drawn_in_a_font_of_the_machine_if_dejavu_lacks_its_letters(fonts) -> None:
    lacks = "\u1d81"  # a letter that STIX has and DejaVu has not
    found = {name: Path(str(font_for(name, 15).path)) for name in ("Bag", "Ботинки", lacks, f"Bag {lacks}\ufe0f", "👟")}
    whole = fonts["c-whole"]
    assert list(found.values()) == [dejavu(), dejavu(), whole, whole, dejavu()]


def test_many_captions_load_one_font(fonts) -> None:
    assert len({id(font_for(f"step {step:,}", 20)) for step in range(50)}) == 1
