"""What stands in an image's file beside its pixels, taken out where it keeps the pixels from being read.

A file may have a broken EXIF block, colour profile, comment, or checksum of one, and good pixels.
Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

PNG = b"\x89PNG\r\n\x1a\n"
NEEDED_IN_PNG = b"tRNS"
"""Of the chunks that a reader may leave out, the one that changes pixels."""
IN_WEBP = (b"EXIF", b"XMP ", b"ICCP")
IN_JPEG = (*range(0xE1, 0xE3), *range(0xE3, 0xEE), 0xEF, 0xFE)
"""Comments and application segments, but for 0 (JFIF) and 14 (Adobe), which say what the colours are."""


def pixels_alone(file: IO[bytes]) -> bytes | None:
    """A PNG, WebP or JPEG file without its metadata; None for any other, and where it has none."""
    head = file.read(12)
    for take, is_one in (
        (_png, head.startswith(PNG)),
        (_webp, head[:4] == b"RIFF" and head[8:] == b"WEBP"),
        (_jpeg, head.startswith(b"\xff\xd8")),
    ):
        if is_one:
            whole = head + file.read()
            kept = b"".join(take(whole))
            return kept if len(kept) < len(whole) else None
    return None


def _png(content: bytes) -> Iterator[bytes]:
    """Chunks: length, four letters, the first of them small where it holds no pixels, data, CRC."""
    yield PNG
    at = len(PNG)
    while at < len(content):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        end = at + 12 + length
        if kind[:1].isupper() or kind == NEEDED_IN_PNG or len(content) < end:
            yield content[at:end]
        at = end


def _webp(content: bytes) -> Iterator[bytes]:
    """Chunks: four letters, length, data, a byte where the length is odd."""
    kept = []
    at = 12
    while at < len(content):
        length, kind = int.from_bytes(content[at + 4 : at + 8], "little"), content[at : at + 4]
        end = at + 8 + length + length % 2
        if kind not in IN_WEBP:
            kept.append(content[at:end])
        at = end
    yield b"RIFF" + (4 + sum(map(len, kept))).to_bytes(4, "little") + b"WEBP"
    yield from kept


def _jpeg(content: bytes) -> Iterator[bytes]:
    """Segments before the pixels: 0xFF, kind, length with itself, data."""
    yield content[:2]
    at = 2
    while content[at : at + 1] == b"\xff" and content[at + 1 : at + 2] not in (b"\xda", b""):
        kind = content[at + 1]
        end = at + 1 if kind == 0xFF else at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if kind not in IN_JPEG:
            yield content[at:end]
        at = end
    yield content[at:]
