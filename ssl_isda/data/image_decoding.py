"""One image file of any kind to a square of 8-bit RGB pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.data.folder_listing import shown

MAX_PIXELS = 20_000 * 20_000
"""Largest image that is decoded: 1.6 GB as 8-bit RGB with Pillow's padding."""
EXIF_ORIENTATION = 0x0112


@contextmanager
def large_images_allowed() -> Iterator[None]:
    """Within the block ``MAX_PIXELS`` is the limit instead of Pillow's, a global of its module."""
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def decode(path: Path, image_size: int) -> np.ndarray:
    """The file's (first) image as (3, image_size, image_size) uint8.

    Turned as its EXIF orientation says, transparent parts over black, 16-bit grey divided by 257,
    other colour spaces through Pillow; then stretched by an antialiased bilinear filter, unless it
    has the size already.

    Raises
    ------
    UsageError
        Not an image, damaged, of more than ``MAX_PIXELS``; the text names the file.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, too large to decode")
            pixels = _resized(_to_rgb(_upright(image)), image_size)
            return np.asarray(pixels).transpose(2, 0, 1)
    except UnidentifiedImageError as error:
        raise UsageError(f"{shown(path)} is not an image; remove it") from error
    # Decoders of damaged files raise what they stumble over: SyntaxError, IndexError, zlib.error.
    except Exception as error:
        reason = " ".join((str(error) or type(error).__name__).split())
        raise UsageError(f"cannot read the image {shown(path)}: {reason}") from error


def _upright(image: Any) -> Any:
    from PIL import ImageOps

    turned = image.getexif().get(EXIF_ORIENTATION, 1) != 1
    return ImageOps.exif_transpose(image) if turned else image


def _to_rgb(image: Any) -> Any:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range is unknown; save it with 8 bits")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _over_black(image)
    return image.convert("RGB")


def _over_black(image: Any) -> Any:
    from PIL import Image

    colours = image.convert("RGBA")
    black = Image.new("RGBA", colours.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, colours).convert("RGB")


def _from_16_bits(image: Any) -> Any:
    from PIL import Image

    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("grey values beyond 16 bits; save it with 8 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")


def _resized(image: Any, image_size: int) -> Any:
    from PIL import Image

    size = (image_size, image_size)
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
