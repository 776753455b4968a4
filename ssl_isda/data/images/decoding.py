"""One image file of any kind to a square of 8-bit RGB pixels."""

from __future__ import annotations

import contextlib
import functools
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.data.folder.walk import shown
from ssl_isda.data.images import complaints, sixteen_bits
from ssl_isda.data.images.complaints import OddImage, Unreadable
from ssl_isda.data.images.metadata import pixels_alone
from ssl_isda.data.images.sizes import of_size, stretched

MAX_PIXELS = 20_000 * 20_000
"""Largest image that is decoded: 1.6 GB as 8-bit RGB with Pillow's padding."""
EXIF_ORIENTATION = 0x0112
DNG_VERSION = 0xC612
Result = TypeVar("Result")


@dataclass(frozen=True)
class Decoded:
    """An image as (3, image_size, image_size) uint8, and the largest of its values of 16 bits."""

    pixels: np.ndarray
    largest: int = sixteen_bits.NOT_16_BITS


class _PillowAtWork:
    """Within the block ``MAX_PIXELS`` is Pillow's limit too, and what it warns of is not printed.

    Both are global. Threads may be within it at the same time: the last one to leave puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limit: int | None = None
        self._quiet = warnings.catch_warnings()

    def __enter__(self) -> None:
        from PIL import Image

        with self._lock:
            if self._inside == 0:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
                self._quiet = warnings.catch_warnings()
                self._quiet.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        from PIL import Image

        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                Image.MAX_IMAGE_PIXELS = self._limit
                self._quiet.__exit__(None, None, None)


_pillow_at_work = _PillowAtWork()


def decode(
    path: Path,
    image_size: int | tuple[int, int],
    bits: int = 16,
    interpolation: str = "bilinear",
) -> np.ndarray:
    """The pixels of ``decoded``."""
    return decoded(path, image_size, bits, interpolation).pixels


def decoded(
    path: Path,
    image_size: int | tuple[int, int],
    bits: int = 16,
    interpolation: str = "bilinear",
) -> Decoded:
    """The file's (first) image as (3, image_size, image_size) uint8; or of another height and width.

    Turned as its EXIF orientation says, transparent parts over black, 16 bits as ``sixteen_bits`` has it,
    other colour spaces through Pillow; then brought to the size. Broken metadata are as none.

    Parameters
    ----------
    bits : that images of 16 bits use
    interpolation : as ``image_sizes.of_size`` takes it

    Raises
    ------
    Unreadable
        Not an image, damaged, of more than ``MAX_PIXELS``; the text names the file.
    UsageError
        It does not fit in the memory that is free.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size

    def read(image: Any, reopen: Callable[[], Any]) -> Decoded:
        colours, largest = _to_rgb(image, reopen, bits)
        sized = of_size(_upright(image, colours), (width, height), interpolation)
        return Decoded(np.asarray(sized).transpose(2, 0, 1), largest)

    return read_image(path, read)


def window_of(
    path: Path, size: tuple[int, int], choose: Callable[[int, int], tuple[int, int, int, int]]
) -> np.ndarray:
    """A window of the file's image as (height, width, 3) uint8 of ``size``, bilinear and antialiased.

    Parameters
    ----------
    choose : given the image's height and width, gives the window's row, column, height and width

    Raises
    ------
    Unreadable, UsageError
        As ``decoded``.
    """

    def read(image: Any, reopen: Callable[[], Any]) -> np.ndarray:
        whole = _upright(image, _to_rgb(image, reopen, bits=16)[0])
        top, left, height, width = choose(whole.height, whole.width)
        cut = whole.crop((left, top, left + width, top + height))
        return np.asarray(stretched(cut, (size[1], size[0]), "bilinear"))

    return read_image(path, read)


def largest_value(path: Path) -> int:
    """Of an image of 16 bits, which is decoded for it; of others, ``NOT_16_BITS`` after a look at the
    beginning of the file. Raises as ``decoded`` does.
    """

    def largest(image: Any, reopen: Callable[[], Any]) -> int:
        if not sixteen_bits.is_deep(image):
            return sixteen_bits.NOT_16_BITS
        image.load()
        return int(sixteen_bits.values_of(image, reopen)[0].max())

    return read_image(path, largest)


def upright_size(path: Path) -> tuple[int, int]:
    """(height, width) of the file's image, turned as ``decoded`` turns it. Raises as that does."""

    def size(image: Any, reopen: Callable[[], Any]) -> tuple[int, int]:
        from PIL import Image

        turned = _upright(image, Image.new("L", image.size))
        return turned.height, turned.width

    return read_image(path, size)


@functools.cache
def decoders() -> str:
    """What reads images here, with versions; packages for further formats are made known to Pillow."""
    import PIL

    names = [f"Pillow {PIL.__version__}"]
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        names.append(f"pillow-heif {pillow_heif.__version__}")
    with contextlib.suppress(ImportError):
        import pillow_avif

        names.append(f"pillow-avif-plugin {pillow_avif.__version__}")
    return ", ".join(names)


def read_image(path: Path, use: Callable[[Any, Callable[[], Any]], Result]) -> Result:
    """What ``use`` makes of the image that is opened, and of a function that opens it again."""
    decoders()
    try:
        with _pillow_at_work:
            if complaints.is_raw_photograph(path):
                raise OddImage(complaints.RAW)
            try:
                return _opened(path, use)
            except Exception:
                alone = _pixels_alone(path)
                if alone is None:
                    raise
            return _opened(alone, use)
    except MemoryError as error:
        raise UsageError(f"{shown(path)} does not fit in memory: make it smaller") from error
    # Decoders of damaged files raise what they stumble over: SyntaxError, IndexError, zlib.error.
    except Exception as error:
        raise Unreadable(path, error) from error


def _opened(source: Path | bytes, use: Callable[[Any, Callable[[], Any]], Result]) -> Result:
    from PIL import Image

    def opened() -> Any:
        return Image.open(source if isinstance(source, Path) else BytesIO(source))

    with opened() as image:
        if image.width * image.height > MAX_PIXELS:
            raise OddImage(
                f"{image.width} x {image.height} pixels, too large to decode: make it smaller"
            )
        if DNG_VERSION in getattr(image, "tag_v2", ()):
            raise OddImage(complaints.RAW)
        with contextlib.ExitStack() as stack:
            return use(image, lambda: stack.enter_context(opened()))


def _pixels_alone(path: Path) -> bytes | None:
    with open(path, "rb") as file:
        return pixels_alone(file)


def fitted(
    image: np.ndarray, shape: tuple[int, int, int], interpolation: str = "bilinear"
) -> np.ndarray:
    """(c, h, w) uint8 of any size, c = 1 or 3, to ``shape``: resized as files are, grey or in colour."""
    from PIL import Image

    channels, height, width = shape
    pixels = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    pixels = pixels.convert("L" if channels == 1 else "RGB")
    if pixels.size != (width, height):
        pixels = of_size(pixels, (width, height), interpolation)
    values = np.asarray(pixels)
    return values[None] if channels == 1 else values.transpose(2, 0, 1)


def _upright(image: Any, colours: Any) -> Any:
    """``colours`` turned as the metadata of ``image`` say, which is loaded."""
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # they are broken, each in its own way
        return colours
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return colours.transpose(turns[orientation]) if orientation in turns else colours


def _to_rgb(image: Any, reopen: Callable[[], Any], bits: int) -> tuple[Any, int]:
    """The image in 8-bit RGB, and the largest of its values of 16 bits."""
    largest, is_deep = sixteen_bits.NOT_16_BITS, sixteen_bits.is_deep(image)
    image.load()
    if is_deep:
        values, alpha = sixteen_bits.values_of(image, reopen)
        largest = int(values.max())
        if bits < 16 or image.mode.startswith("I"):
            return _from_16_bits(values, alpha, bits), largest
    if image.mode == "F":
        raise OddImage("floating-point pixels, whose range is unknown: save it with 8 bits")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _over_black(image), largest
    return image if image.mode == "RGB" else image.convert("RGB"), largest


def _from_16_bits(values: np.ndarray, alpha: np.ndarray | None, bits: int) -> Any:
    from PIL import Image

    image = Image.fromarray(sixteen_bits.to_bytes(values, bits)).convert("RGB")
    if alpha is None:
        return image
    image.putalpha(Image.fromarray(alpha))
    return _over_black(image)


def _over_black(image: Any) -> Any:
    from PIL import Image

    colours = image.convert("RGBA")
    black = Image.new("RGBA", colours.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, colours).convert("RGB")
