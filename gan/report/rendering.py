"""Grids, rows and an animation of images: labelled, enlarged without smoothing, drawn with Pillow."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from gan.data.pixels import IMAGE_SIZE, denormalize_images, is_pixels
from gan.report.fonts import font_for

GAP, MARGIN, CAPTION_HEIGHT, LABEL_WIDTH = 6, 16, 34, 120  # pixels
PAPER, INK, SOFT_INK = 255, 40, 110  # grey levels
MAX_FRAMES, FRAME_MILLISECONDS, LAST_FRAME_MILLISECONDS = 20, 700, 2500


def draw_grid(
    pixels: np.ndarray,
    columns: int,
    *,
    scale: int,
    caption: str = "",
    titles: Sequence[str] | None = None,
    margin: int = MARGIN,
    gap: int = GAP,
) -> Image.Image:
    """Draw images in a grid, in greyscale (mode "L").

    Args:
        pixels: uint8, shape (n, 28, 28), n > 0.
        columns: Images in a row.
        scale: Side of an image's pixel in the picture, in pixels.
        caption: Text above the grid.
        titles: Text above each image.
        margin: Pixels around the grid.
        gap: Pixels between two images.

    Raises:
        ValueError: If `pixels` has another dtype or shape, or there is not one title for each image.
    """
    _check_grid(pixels, titles)
    side = IMAGE_SIZE * scale
    title_size = max(12, side // 12)
    title_height = round(title_size * 1.7) if titles else 0
    top_margin = margin + (CAPTION_HEIGHT if caption else 0)
    rows = -(-len(pixels) // columns)
    caption_width = round(font_for(caption, 20).getlength(caption))
    width = 2 * margin + max(columns * side + (columns - 1) * gap, caption_width)
    height = top_margin + margin + rows * (side + title_height) + (rows - 1) * gap
    picture = Image.new("L", (width, height), PAPER)
    draw = ImageDraw.Draw(picture)
    if caption:
        draw.text((margin, margin), caption, fill=INK, font=font_for(caption, 20))
    for index, image in enumerate(pixels):
        row, column = divmod(index, columns)
        left = margin + column * (side + gap)
        top = top_margin + row * (side + title_height + gap)
        if titles:
            middle = left + side // 2, top + title_height // 2
            _draw_name(draw, middle, titles[index], title_size, side, "mm")
        tile = Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST)
        picture.paste(tile, (left, top + title_height))
    return picture


def _check_grid(pixels: np.ndarray, titles: Sequence[str] | None) -> None:
    if not is_pixels(pixels) or not len(pixels):
        raise ValueError(
            f"draw_grid got {pixels.dtype} of shape {pixels.shape}; it expects uint8 of shape (n, 28, 28), n > 0."
        )
    if titles is not None and len(titles) != len(pixels):
        raise ValueError(f"draw_grid got {len(titles)} titles for {len(pixels)} images; it expects one for each image.")


def _draw_name(draw: ImageDraw.ImageDraw, at: tuple[int, int], name: str, size: int, width: int, anchor: str) -> None:
    """Draw the name of a class in a font that has its letters, cut to a width in pixels."""
    font, cut, end = font_for(f"{name}…", size), name, len(name)
    while end and font.getlength(cut) > width:
        end -= 1
        cut = f"{name[:end]}…"
    draw.text(at, cut, fill=INK, font=font, anchor=anchor)


def draw_real_examples(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str], *, seed: int) -> Image.Image:
    """Draw nine random real images in a 3 x 3 grid, each with its class name (the article's step 1).

    Args:
        images: float32, shape (n, 28, 28, 1), values in [-1, 1], n >= 9.
        labels: int, shape (n,), indices into `class_names`.
        class_names: Class names by label.
        seed: Seed of the choice.
    """
    chosen = np.random.default_rng(seed).choice(len(images), size=9, replace=False)
    titles = [class_names[label] for label in labels[chosen]]
    return draw_grid(denormalize_images(images[chosen]), 3, scale=7, titles=titles)


def draw_snapshots(
    snapshots: np.ndarray, steps: Sequence[int], *, num: int, columns: int, scale: int
) -> list[Image.Image]:
    """Draw a grid of the first `num` images of every snapshot, with the step as its caption.

    `snapshots` is uint8, shape (num_snapshots, num_images, 28, 28); the other arguments are those of `draw_grid`.
    """
    return [
        draw_grid(pixels[:num], columns, scale=scale, caption=f"step {step:,}")
        for pixels, step in zip(snapshots, steps, strict=True)
    ]


def draw_class_rows(rows: Sequence[tuple[str, np.ndarray, np.ndarray]], *, scale: int) -> Image.Image:
    """Draw a name, a row of real images and a row of generated images for every class, in greyscale (mode "L").

    Args:
        rows: Name, real pixels and generated pixels of each class; pixels are uint8, shape (k, 28, 28), k may be 0.
        scale: Side of an image's pixel in the picture, in pixels.
    """
    side = IMAGE_SIZE * scale + scale
    left, name_height = MARGIN + LABEL_WIDTH, 26
    band = name_height + 2 * side + GAP
    columns = max(max(len(real), len(fake)) for _, real, fake in rows)
    picture = Image.new("L", (left + columns * side + MARGIN, 2 * MARGIN + len(rows) * band), PAPER)
    draw = ImageDraw.Draw(picture)
    for index, (name, real, fake) in enumerate(rows):
        top = MARGIN + index * band
        _draw_name(draw, (MARGIN, top), name, 15, picture.width - 2 * MARGIN, "la")
        for line, (label, pixels) in enumerate((("real", real), ("generated", fake))):
            middle = top + name_height + line * side + side // 2
            text = label if len(pixels) else f"{label}: none"
            draw.text((MARGIN, middle), text, fill=SOFT_INK, font=font_for(text, 15), anchor="lm")
            if len(pixels):
                picture.paste(draw_grid(pixels, columns, scale=scale, margin=0, gap=scale), (left, middle - side // 2))
    return picture


def tiles_png(pixels: np.ndarray, columns: int) -> bytes:
    """Return a PNG of uint8 images of shape (n, 28, 28) in rows, without margin and with narrow gaps."""
    return png_bytes(draw_grid(pixels, columns, scale=2, margin=0, gap=2))


def png_bytes(picture: Image.Image) -> bytes:
    """Return a picture as PNG; equal pictures give equal bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def animation_bytes(frames: Sequence[Image.Image]) -> bytes:
    """Return pictures of equal size as an endless, lossless WebP animation that shows the last one longer.

    At most MAX_FRAMES evenly spaced frames are used, since a report contains the animation.
    """
    frames, buffer = [frames[index] for index in spaced(len(frames), MAX_FRAMES)], io.BytesIO()
    durations = [FRAME_MILLISECONDS] * (len(frames) - 1) + [LAST_FRAME_MILLISECONDS]
    first, *rest = (frame.convert("RGB") for frame in frames)
    options = {"append_images": rest, "duration": durations, "loop": 0, "lossless": True, "method": 4}
    first.save(buffer, format="WEBP", save_all=True, **options)
    return buffer.getvalue()


def spaced(num: int, most: int) -> list[int]:
    """Return at most `most` evenly spaced indices below `num`, with the first and the last."""
    return sorted({round(position) for position in np.linspace(0, num - 1, min(num, most))})
