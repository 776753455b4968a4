"""Rows of small images as one picture, with a few words before each row."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

GAP, MARGIN = 4, 8
"""Pixels between images, and around all of them."""
CELL = 48
"""Pixels that a small image is enlarged to, at least, by a whole factor."""
FONT_SIZE = 14
LETTER = 8
"""Pixels, roughly, of a letter's width."""


class Row(NamedTuple):
    """Words, and images as (c, h, w) uint8, all of one size; None leaves a place empty."""

    words: str
    images: Sequence[np.ndarray | None]


def mosaic(rows: Sequence[Row]) -> bytes:
    """A PNG: the same rows give the same bytes."""
    from PIL import Image, ImageDraw, ImageFont

    width, height = _cell(rows)
    left = 2 * MARGIN + LETTER * max(len(row.words) for row in rows)
    columns = max(len(row.images) for row in rows)
    size = (
        left + columns * (width + GAP) + MARGIN,
        2 * MARGIN + len(rows) * (height + GAP) - GAP,
    )
    picture = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(FONT_SIZE)
    for k, row in enumerate(rows):
        top = MARGIN + k * (height + GAP)
        words = row.words.encode("latin-1", "replace").decode("latin-1")
        draw.text((MARGIN, top + height // 2), words, "black", font, anchor="lm")
        for n, image in enumerate(row.images):
            if image is not None:
                cell = as_image(image).resize((width, height), Image.Resampling.NEAREST)
                picture.paste(cell, (left + n * (width + GAP), top))
    content = io.BytesIO()
    picture.save(content, format="png")
    return content.getvalue()


def as_image(pixels: np.ndarray) -> Image:
    """(c, h, w) uint8 as Pillow has it, c = 1 or 3."""
    from PIL import Image

    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def png(pixels: np.ndarray) -> bytes:
    """One image as a file."""
    content = io.BytesIO()
    as_image(pixels).save(content, format="png")
    return content.getvalue()


def _cell(rows: Sequence[Row]) -> tuple[int, int]:
    height, width = next(i.shape[1:] for row in rows for i in row.images if i is not None)
    factor = max(1, -(-CELL // min(height, width)))
    return width * factor, height * factor
