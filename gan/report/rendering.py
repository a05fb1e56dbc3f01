"""Pictures of images: grids, an animation, a strip. Crisp (nearest neighbour) and labelled; Pillow only."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gan.data.pixels import IMAGE_SIZE, denormalize_images

GAP = 6
MARGIN = 16
PAPER, INK, SOFT_INK = 255, 40, 110
LABEL_WIDTH = 120
FRAME_MILLISECONDS = 700
LAST_FRAME_MILLISECONDS = 2500
MAX_FRAMES = 20


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
    """Lay images out in rows.

    Args:
        pixels: uint8, shape (n, 28, 28).
        columns: Images in a row.
        scale: Size of a pixel in the picture, in pixels.
        caption: A line above the grid.
        titles: A line above each image.
        margin: Paper around the grid, in pixels.
        gap: Paper between two images, in pixels.

    Returns:
        A grey picture ("L").

    Raises:
        ValueError: If `pixels` has another dtype or shape, or the titles are not one an image.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE) or not len(pixels):
        raise ValueError(
            f"draw_grid got {pixels.dtype} of shape {pixels.shape}; it expects uint8 of shape (n, 28, 28), n > 0."
        )
    if titles is not None and len(titles) != len(pixels):
        raise ValueError(f"draw_grid got {len(titles)} titles for {len(pixels)} images; it expects one an image.")
    side = IMAGE_SIZE * scale
    title_size = max(12, side // 12)
    caption_font, title_font = ImageFont.load_default(20), ImageFont.load_default(title_size)
    caption_height = 34 if caption else 0
    title_height = round(title_size * 1.7) if titles else 0
    rows = -(-len(pixels) // columns)
    width = 2 * margin + columns * side + (columns - 1) * gap
    height = 2 * margin + caption_height + rows * (side + title_height) + (rows - 1) * gap
    picture = Image.new("L", (width, height), PAPER)
    draw = ImageDraw.Draw(picture)
    if caption:
        draw.text((margin, margin), caption, fill=INK, font=caption_font)
    for index, image in enumerate(pixels):
        row, column = divmod(index, columns)
        left = margin + column * (side + gap)
        top = margin + caption_height + row * (side + title_height + gap)
        if titles:
            draw.text(
                (left + side // 2, top + title_height // 2),
                _fitting(titles[index], title_font, side),
                fill=INK,
                font=title_font,
                anchor="mm",
            )
        tile = Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST)
        picture.paste(tile, (left, top + title_height))
    return picture


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """A text, or as much of it as is not wider than its picture."""
    if font.getlength(text) <= width:
        return text
    return next(cut for end in range(len(text) - 1, -1, -1) if font.getlength(cut := f"{text[:end]}…") <= width)


def draw_real_examples(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str], *, seed: int) -> Image.Image:
    """A 3 x 3 picture of random real images, each titled with its class name (the article's step 1).

    Args:
        images: float32, shape (n, 28, 28, 1), values in [-1, 1], n >= 9.
        labels: int, shape (n,), indices into `class_names`.
        class_names: Names by label.
        seed: Seeds the choice.
    """
    chosen = np.random.default_rng(seed).choice(len(images), size=9, replace=False)
    titles = [class_names[label] for label in labels[chosen]]
    return draw_grid(denormalize_images(images[chosen]), 3, scale=7, titles=titles)


def draw_snapshots(
    snapshots: np.ndarray, steps: Sequence[int], *, num: int, columns: int, scale: int
) -> list[Image.Image]:
    """A captioned grid of the first `num` images of every snapshot.

    Args:
        snapshots: uint8, shape (num_snapshots, num_images, 28, 28).
        steps: The step after which each was taken.
        num: Images in a grid.
        columns: Images in a row.
        scale: Size of a pixel in the picture, in pixels.
    """
    return [
        draw_grid(pixels[:num], columns, scale=scale, caption=f"step {step:,}")
        for pixels, step in zip(snapshots, steps, strict=True)
    ]


def draw_class_rows(rows: Sequence[tuple[str, np.ndarray, np.ndarray]], *, scale: int) -> Image.Image:
    """A band for every class: its name, a row of real images, and below it a row of generated ones.

    Args:
        rows: Of each class its name, real pixels and generated pixels, uint8 (k, 28, 28); k may be 0.
        scale: Size of a pixel in the picture, in pixels.

    Returns:
        A grey picture ("L").
    """
    side, font = IMAGE_SIZE * scale + scale, ImageFont.load_default(15)
    left, name_height = MARGIN + LABEL_WIDTH, 26
    band = name_height + 2 * side + GAP
    columns = max(max(len(real), len(fake)) for _, real, fake in rows)
    picture = Image.new("L", (left + columns * side + MARGIN, 2 * MARGIN + len(rows) * band), PAPER)
    draw = ImageDraw.Draw(picture)
    for index, (name, real, fake) in enumerate(rows):
        top = MARGIN + index * band
        draw.text((MARGIN, top), _fitting(name, font, picture.width - 2 * MARGIN), fill=INK, font=font)
        for line, (kind, pixels) in enumerate((("real", real), ("generated", fake))):
            middle = top + name_height + line * side + side // 2
            draw.text((MARGIN, middle), kind if len(pixels) else f"{kind}: none", fill=SOFT_INK, font=font, anchor="lm")
            if len(pixels):
                picture.paste(draw_grid(pixels, columns, scale=scale, margin=0, gap=scale), (left, middle - side // 2))
    return picture


def png_bytes(picture: Image.Image) -> bytes:
    """A picture as PNG; equal pictures give equal bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def save_png(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG; equal pictures give equal bytes."""
    path.write_bytes(png_bytes(picture))


def save_animation(frames: Sequence[Image.Image], path: Path | io.BytesIO) -> None:
    """Write pictures of one size as an endless, lossless WebP animation; the last one stays longer.

    Of more than MAX_FRAMES some are left out, evenly: a report must hold it.
    """
    frames = [frames[index] for index in spaced(len(frames), MAX_FRAMES)]
    durations = [FRAME_MILLISECONDS] * (len(frames) - 1) + [LAST_FRAME_MILLISECONDS]
    first, *rest = (frame.convert("RGB") for frame in frames)
    first.save(
        path, format="WEBP", save_all=True, append_images=rest, duration=durations, loop=0, lossless=True, method=4
    )


def spaced(num: int, most: int) -> list[int]:
    """At most that many of the indices below num, evenly spaced, the first and the last among them."""
    return sorted({round(position) for position in np.linspace(0, num - 1, min(num, most))})
