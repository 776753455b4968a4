"""Images with 16 bits for each value: how many of the bits they use, and how they become 8.

Microscopes, X-ray detectors and cameras put 10, 12 or 14 bits into files of 16, and no file format says
reliably how many. So the largest value of **all** such images of a data folder decides: the fewest of 8,
10, 12, 14 or 16 bits that hold it. A rule for each image alone would take away the differences in
brightness between images; a scale from a file's own header is absent in most files, and means something
else in PNG (``sBIT`` speaks of values that are spread over 16 bits already). With b bits

    v -> round(v * 255 / (2^b - 1)),    b < 16,

and larger values, which later images may have, become 255. Images that use all 16 bits become what they
always became here: ``round(v / 257)`` in grey, and the upper byte in colour, as Pillow reads it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ssl_isda.data.images.complaints import OddImage

BITS = (8, 10, 12, 14, 16)
NOT_16_BITS = -1
"""Stands for the largest value of an image of 8 bits, which does not count."""
_OTHER_BYTE = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}


def bits_for(largest: int) -> int:
    """The fewest of ``BITS`` that hold a value; 16 where there is none."""
    if largest == NOT_16_BITS:
        return BITS[-1]
    return next(bits for bits in BITS if largest < 1 << bits)


def is_deep(image: Any) -> bool:
    """Whether an image that Pillow has opened, and not loaded yet, has 16 bits for each value."""
    return image.mode.startswith("I") or _raw_mode(image).endswith((";16B", ";16L", ";16N"))


def values_of(image: Any, reopen: Callable[[], Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Grey (h, w) or colour (h, w, 3) values, and alpha (h, w) of 8 bits if there is any.

    Parameters
    ----------
    image : deep and loaded
    reopen : gives the image again, opened and not loaded

    Raises
    ------
    OddImage
        A grey value is negative or beyond 16 bits.
    """
    if image.mode.startswith("I"):
        return _grey(np.asarray(image)), None
    again = reopen()
    raw_mode = _raw_mode(again)
    if raw_mode.startswith("LA"):
        both = np.asarray(_with_raw_mode(again, "RGBA")).astype(np.uint16)
        return both[..., 0] << 8 | both[..., 1], both[..., 2].astype(np.uint8)
    upper = np.asarray(image)
    lower = np.asarray(_with_raw_mode(again, raw_mode[:-1] + _OTHER_BYTE[raw_mode[-1]]))
    values = upper[..., :3].astype(np.uint16) << 8 | lower[..., :3]
    return values, upper[..., 3] if image.mode == "RGBA" else None


def to_bytes(values: np.ndarray, bits: int) -> np.ndarray:
    """uint16 values to uint8, as above; of 16 bits as in grey."""
    if bits < 16:
        white = (1 << bits) - 1
        scaled = (values.astype(np.int64) * 510 + white) // (2 * white)
        return np.minimum(scaled, 255).astype(np.uint8)
    return ((values.astype(np.int64) + 128) // 257).astype(np.uint8)


def note(names: list[str], largest: np.ndarray) -> list[str]:
    """What is done to images of 16 bits, in one line; nothing where they use all 16.

    Parameters
    ----------
    largest : (n,), the largest value of each image; ``NOT_16_BITS`` for the others
    """
    deep = largest[largest != NOT_16_BITS]
    if not len(deep):
        return []
    bits, top = bits_for(int(deep.max())), int(deep.max())
    images = (
        f"{len(deep):,} images have 16 bits a value"
        if len(deep) > 1
        else "1 image has 16 bits a value"
    )
    if bits < 16:
        return [
            f"{images}, of which the largest, {top:,}, needs {bits}: {(1 << bits) - 1:,} becomes white"
        ]
    dark = np.sort(deep)[: len(deep) // 2 + 1]
    if bits_for(int(dark[-1])) == 16:
        return []
    return [
        f"{images}; most of them need only {bits_for(int(dark[-1]))} and become dark, with few levels, "
        f"because {names[int(largest.argmax())]} reaches {top:,}: leave it out, or save all with 8 bits"
    ]


def _raw_mode(image: Any) -> str:
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, (tuple, list)) else arguments)


def _with_raw_mode(image: Any, raw_mode: str) -> Any:
    def changed(tile: Any) -> Any:
        old = tile[3]
        arguments = raw_mode if isinstance(old, str) else type(old)([raw_mode, *old[1:]])
        return (
            tile._replace(args=arguments) if hasattr(tile, "_replace") else (*tile[:3], arguments)
        )

    image.tile = [changed(tile) for tile in image.tile]
    return image


def _grey(values: np.ndarray) -> np.ndarray:
    if values.min() < 0 or values.max() > 65535:
        raise OddImage(
            "grey values below 0 or beyond 65,535: save it with 16 bits from 0, or with 8"
        )
    return values.astype(np.uint16)
