"""Which files are images: by their names or, where a name says nothing, by their first bytes.

Imports no torch.
"""

from __future__ import annotations

import os
import re

EXTENSIONS = frozenset(
    """.apng .avif .avifs .blp .bmp .bw .cur .dcx .dds .dib .eps .fit .fits .flc .fli .ftc .ftu .gbr .gif
    .icb .icns .ico .im .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .msp .pbm .pcd .pcx .pfm
    .pgm .png .pnm .ppm .ps .psd .pxr .qoi .ras .rgb .rgba .sgi .tga .tif .tiff .vda .vst .webp .xbm
    .xpm""".split()
)
"""What Pillow reads on every system. Films, data files and drawings of Windows, which it knows but does
not decode, are not among them."""
HEIF, RAW, DICOM = (
    frozenset(".heic .heics .heif .heifs .hif".split()),
    frozenset(
        ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw "
        ".rw2 .rwl .sr2 .srf .srw .x3f".split()
    ),
    frozenset(".dcm .dicom".split()),
)
OTHERS = frozenset(".exr .jxl .nii .svg .svgz".split())
"""Images too, which other programs read."""
ALL = EXTENSIONS | HEIF | RAW | DICOM | OTHERS
_EXTENSION = re.compile(r"\.(?=[0-9]*[a-z])[0-9a-z]{1,5}")
_BEGINNINGS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        rb"\x89PNG\r\n\x1a\n",
        rb"\xff\xd8\xff",
        rb"GIF8[79]a",
        rb"BM.{4}\0{4}",
        rb"II\*\0|MM\0\*|II\+\0|MM\0\+",
        rb"RIFF.{4}WEBP",
        rb".{4}ftyp(avi[fs]|hei[cfmsx]|hev[cx]|mif1|msf1)",
        rb"\0\0\0\x0cjP  \r\n|\xff\x4f\xff\x51",
        rb"P[1-7]\s",
        rb"8BPS|qoif|DDS |SIMPLE  =",
        rb".{128}DICM",
    )
)
NUM_FIRST_BYTES = 132


def extension(name: str) -> str:
    """Of a file's name, in small letters and with its dot; "" where what follows the dot is no
    extension: five small or capital letters and digits at most, one of them a letter."""
    found = name[name.rfind(".") :].lower()
    if found in ALL:
        return found
    found = os.path.splitext(name.strip().lower())[1]
    return found if _EXTENSION.fullmatch(found) else ""


def begins_as_image(head: bytes) -> bool:
    """Whether ``head``, the first ``NUM_FIRST_BYTES`` of a file, is the beginning of an image."""
    return any(pattern.match(head) for pattern in _BEGINNINGS)
