"""Why a file cannot be read as an image, and what a person can do about it. Imports no torch."""

from __future__ import annotations

import errno
import re
import sys
from pathlib import Path

from ssl_isda.base.errors import UsageError
from ssl_isda.data.folder.walk import shown
from ssl_isda.data.images import formats

RAW = (
    "a raw photograph of a camera: convert it to TIFF or JPEG, for instance with the package rawpy"
)
_HEIF = "a HEIF photograph: the package pillow-heif reads it (pip install pillow-heif)"
_AVIF = (
    "an AVIF image: a newer Pillow reads it, or the package pillow-avif-plugin "
    "(pip install pillow-avif-plugin)"
)
_DICOM = "a DICOM image: convert it to PNG of 16 bits, for instance with the package pydicom"
_DRAWING = "a drawing (SVG): convert it to PNG, for instance with the package cairosvg"
_JXL = "a JPEG XL image: convert it to PNG, for instance with the package pillow-jxl-plugin"
_BEGINNINGS = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), text)
    for pattern, text in (
        (rb"(II\*\0|MM\0\*).{4}CR|FUJIFILMCCD-RAW|IIR[OS]|MMOR|IIU\0|FOVb|\0MRM", RAW),
        (rb".{4}ftypcrx", RAW),
        (rb".{4}ftyp(hei[cfmsx]|hev[cmsx]|mif1|msf1)", _HEIF),
        (rb".{4}ftypavi[fs]", _AVIF),
        (rb".{128}DICM", _DICOM),
        (rb"\xff\x0a|\0\0\0\x0cJXL ", _JXL),
        (rb"v/1\x01", "an OpenEXR image: save it with 8 bits"),
        (rb"\s*<(svg|\?xml[^>]*>\s*(<!--.*?-->\s*)?(<!doctype svg[^>]*>\s*)?<svg)", _DRAWING),
        (
            rb"\s*<(!doctype html|html|head|body)",
            "a web page, which came in place of the image: download it again",
        ),
        (
            rb"version https://git-lfs",
            "a pointer of Git LFS: 'git lfs pull' fetches the image",
        ),
        (
            rb"(\.\./|\.git/|/)*(annex|\.git/annex)/objects/",
            "a pointer of git-annex: 'git annex get' fetches the image",
        ),
        (
            rb".{4}ftyp(?!hei|hev|mif1|msf1|avi[fs])|\x1aE\xdf\xa3|RIFF.{4}AVI ",
            "a film: save pictures of it, or remove it",
        ),
        (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!", "an archive: unpack it"),
        (rb"%PDF", "a PDF document: save its pages as images"),
    )
)
_BY_NAME = {
    **dict.fromkeys(formats.RAW, RAW),
    **dict.fromkeys(formats.HEIF, _HEIF),
    **dict.fromkeys(formats.DICOM, _DICOM),
    ".jxl": _JXL,
    ".svg": _DRAWING,
    ".svgz": _DRAWING,
    ".nii": "a NIfTI volume: save its slices as PNG of 16 bits, for instance with the package nibabel",
    ".exr": "an OpenEXR image: save it with 8 bits",
}
NUM_FIRST_BYTES = 1024
_OF_THE_DISK = {errno.EACCES, errno.EPERM, errno.ENOENT, errno.EIO, errno.ESTALE, errno.EMFILE}


class Unreadable(UsageError):
    """A file that cannot be decoded; ``reason`` says what it is and what to do, without its name."""

    def __init__(self, path: Path, error: Exception) -> None:
        self.reason = complaint(path, error)
        self.is_lasting = not _is_of_the_disk(error)
        """Whether the same bytes would be refused again."""
        super().__init__(f"cannot read the image {shown(path)}: {self.reason}")


class OddImage(ValueError):
    """An image that is not decoded although it could be, or not wholly; the text is the whole reason."""


def is_raw_photograph(path: Path) -> bool:
    """Whether a camera's raw file looks like a TIFF to Pillow, which would give its thumbnail."""
    is_called_one = formats.extension(path.name) in formats.RAW
    return is_called_one and _head(path)[:4] in (b"II*\0", b"MM\0*")


def complaint(path: Path, error: Exception) -> str:
    """What is wrong with a file in whose decoding ``error`` was raised."""
    if isinstance(error, OddImage):
        return str(error)
    if _is_of_the_disk(error):
        return f"{getattr(error, 'strerror', error)}: make it readable, or bring it back"
    head = _head(path)
    if not head:
        return "empty: copy or download it again"
    if not head.strip(b"\0"):
        return "nothing but zeros, the trace of a copy that broke off: copy it again"
    for pattern, text in _BEGINNINGS:
        if pattern.match(head) and not _is_read_here(text):
            return text
    if type(error).__name__ != "UnidentifiedImageError":
        return (
            f"damaged, or of a kind that Pillow does not decode: {_in_words(error)}; copy it again, or "
            "save it as PNG"
        )
    if formats.begins_as_image(head):
        return "damaged or cut short: copy it again"
    by_name = _BY_NAME.get(formats.extension(path.name))
    if by_name and not _is_read_here(by_name):
        return by_name
    return "not an image: save it as one, or remove it"


def _is_of_the_disk(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _OF_THE_DISK


def _is_read_here(text: str) -> bool:
    """Whether what a complaint asks for is installed, so that something else is wrong."""
    from PIL import features

    has_avif = "pillow_avif" in sys.modules or features.check("avif")
    return bool({_HEIF: "pillow_heif" in sys.modules, _AVIF: has_avif}.get(text))


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(NUM_FIRST_BYTES)
    except OSError:
        return b""


def _in_words(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))[:200]
