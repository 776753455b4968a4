"""One image file of any kind to a square of 8-bit RGB pixels."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.data.folder_walk import shown

MAX_PIXELS = 20_000 * 20_000
"""Largest image that is decoded: 1.6 GB as 8-bit RGB with Pillow's padding."""
EXIF_ORIENTATION = 0x0112


class _LargeImagesAllowed:
    """Within the block ``MAX_PIXELS`` is the limit instead of Pillow's, a global of its module.

    Threads may be within it at the same time: the last one to leave puts Pillow's limit back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: int | None = None

    def __enter__(self) -> None:
        from PIL import Image

        with self._lock:
            if self._inside == 0:
                self._before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        from PIL import Image

        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                Image.MAX_IMAGE_PIXELS = self._before


_large_images_allowed = _LargeImagesAllowed()


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
        with _large_images_allowed, Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, too large to decode")
            pixels = _resized(_to_rgb(_upright(image)), (image_size, image_size))
            return np.asarray(pixels).transpose(2, 0, 1)
    except UnidentifiedImageError as error:
        raise UsageError(f"{shown(path)} is not an image; remove it") from error
    # Decoders of damaged files raise what they stumble over: SyntaxError, IndexError, zlib.error.
    except Exception as error:
        reason = " ".join((str(error) or type(error).__name__).split())
        raise UsageError(f"cannot read the image {shown(path)}: {reason}") from error


def fitted(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """(c, h, w) uint8 of any size, c = 1 or 3, to ``shape``: resized as files are, grey or in colour."""
    from PIL import Image

    channels, height, width = shape
    pixels = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    values = np.asarray(_resized(pixels.convert("L" if channels == 1 else "RGB"), (width, height)))
    return values[None] if channels == 1 else values.transpose(2, 0, 1)


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


def _resized(image: Any, size: tuple[int, int]) -> Any:
    """To (width, height)."""
    from PIL import Image

    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
