"""One image with its mask, from their files to pixels and classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.base.void import VOID
from ssl_isda.data.folder.walk import shown
from ssl_isda.data.images.complaints import OddImage, Unreadable
from ssl_isda.data.images.decoding import decode, read_image, upright_size
from ssl_isda.data.masks.classes import Colour, MaskClasses

Size = tuple[int, int]
"""Height and width, in pixels."""
LOSSY = ("JPEG", "MPO")
ONE_CHANNEL = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N", "F", "LA", "PA")
FEW = 2
"""Unknown colours of a mask that may be classes which the list lacks; more are smoothed edges."""
WITH_ALPHA = ("LA", "PA", "RGBA")


@contextmanager
def _told(kind: str, path: Path) -> Iterator[None]:
    """Within the block a file that cannot be read is told as one of this kind."""
    try:
        yield
    except Unreadable as error:
        raise UsageError(f"cannot read the {kind} {shown(path)}: {error.reason}") from error


def image_of(path: Path, size: Size) -> np.ndarray:
    """(3, h, w) uint8, stretched to the size as all images are.

    Raises
    ------
    UsageError
        The file cannot be read.
    """
    with _told("image", path):
        return decode(path, size)


def mask_of(path: Path, classes: MaskClasses | None, size: Size) -> np.ndarray:
    """(h, w) uint8 classes, brought to the size by taking the nearest pixel.

    Raises
    ------
    UsageError
        The file cannot be read, or a pixel is of no class.
    """
    ids = ids_of(path, classes)
    if ids.shape == size:
        return ids
    rows, columns = (nearest(*each) for each in zip(ids.shape, size, strict=True))
    resized: np.ndarray = ids[rows[:, None], columns]
    return resized


def nearest(length: int, wanted: int) -> np.ndarray:
    """The places, among ``length``, of the pixels nearest to the centres of ``wanted`` ones."""
    return (2 * np.arange(wanted) + 1) * length // (2 * wanted)


def ids_of(path: Path, classes: MaskClasses | None) -> np.ndarray:
    """(h, w) uint8, the classes of a mask at its own size. Raises as ``mask_of``."""
    values = raw_ids_of(path)
    has_colours = classes is not None and classes.ids
    if values.ndim == 3 and not has_colours and (values == values[..., :1]).all():
        values = values[..., 0].astype(np.int64)  # one channel, saved as three
    if values.ndim == 3:
        return _of_colours(path, values, classes)
    return _of_ids(path, values, classes)


def raw_ids_of(path: Path) -> np.ndarray:
    """(h, w) int64, the numbers in a mask as they are; (h, w, 3) uint8 of one in colour.

    Raises
    ------
    UsageError
        The file cannot be read.
    """
    with _told("mask", path):
        return read_image(path, _values)


def palette_of(path: Path, num_classes: int) -> tuple[Colour, ...] | None:
    """The colours that a mask with a palette shows its classes in, if no two are alike.

    Raises
    ------
    UsageError
        The file cannot be read.
    """
    with _told("mask", path):
        values = read_image(path, lambda image, reopen: image.getpalette() or [])
    found = {tuple(values[3 * c : 3 * c + 3]) for c in range(num_classes)}
    if len(found) < num_classes or len(values) < 3 * num_classes:
        return None
    return tuple((values[k], values[k + 1], values[k + 2]) for k in range(0, 3 * num_classes, 3))


def _values(image: Any, reopen: Callable[[], Any]) -> np.ndarray:
    """(h, w) ids of a picture with one channel, such as a palette PNG; (h, w, 3) of one in colour.

    Raises
    ------
    OddImage
        What it holds is not what somebody drew: it is compressed with losses, transparent in parts, or
        has fractions.
    """
    if image.format in LOSSY:
        raise OddImage("a JPEG, which changes ids and colours near edges: save masks as PNG")
    if image.mode in WITH_ALPHA and image.getchannel("A").getextrema()[0] < 255:
        raise OddImage(
            "transparent in parts, where its class is not known: save masks without transparency"
        )
    one_channel = image.mode in ONE_CHANNEL
    if image.mode in ("LA", "PA"):
        image = image.getchannel(0)
    values = np.asarray(image if one_channel else image.convert("RGB"))
    if values.dtype.kind == "f" and not (values == np.floor(values)).all():
        raise OddImage("numbers that are not whole: masks hold ids")
    return values.astype(np.int64) if one_channel else values


def _of_ids(path: Path, values: np.ndarray, classes: MaskClasses | None) -> np.ndarray:
    num_classes = VOID if classes is None else len(classes.names)
    outside = (values != VOID) & ((values < 0) | (values >= num_classes))
    if outside.any():
        raise UsageError(
            f"{shown(path)} has the id {values[outside][0]}; the {num_classes} classes are 0 to "
            f"{num_classes - 1}, and {VOID} is a pixel without a class"
        )
    return values.astype(np.uint8)


def _of_colours(path: Path, values: np.ndarray, classes: MaskClasses | None) -> np.ndarray:
    if classes is None or not classes.ids:
        raise UsageError(
            f"{shown(path)} is a mask in colour: classes.txt names the colour of each class, as in "
            "'road #804080'"
        )
    codes = (values.astype(np.int64) * (65536, 256, 1)).sum(2)
    found = np.full(codes.shape, -1)
    for (red, green, blue), number in classes.ids.items():
        found[codes == (red * 65536 + green * 256 + blue)] = number
    unknown = np.unique(codes[found < 0])
    if len(unknown):
        advice = "a line 'void #...' names that of pixels without a class"
        if len(unknown) > FEW:
            advice = "masks whose edges were smoothed must be saved without smoothing"
        others = f", and {len(unknown) - 1:,} other colours" if len(unknown) > 1 else ""
        raise UsageError(
            f"{shown(path)} has the colour #{unknown[0]:06x}{others}, which classes.txt does not name; "
            f"{advice}"
        )
    return found.astype(np.uint8)


def check_sizes(image: Path, mask: Path | None) -> Size:
    """Height and width of an image, which its mask, if it has one, has too.

    Raises
    ------
    UsageError
        It has others, or a file cannot be read.
    """
    with _told("image", image):
        height, width = upright_size(image)
    if mask is None:
        return height, width
    with _told("mask", mask):
        there = read_image(mask, lambda opened, reopen: (opened.height, opened.width))
    if there != (height, width):
        raise UsageError(
            f"{shown(mask)} is {there[1]} x {there[0]} pixels, and its image {shown(image)} "
            f"{width} x {height}: a mask has the size of its image"
        )
    return height, width
