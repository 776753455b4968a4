"""A user's own images: ``train/<class>/*``, ``unlabeled/*`` (optional) and ``test/<class>/*``; or
``labels.csv`` beside images anywhere, as ``ssl_isda.data.folder.by_table`` says.

Every image is decoded and resized once; the result is kept in ``.cache`` inside the data folder and
used again as long as no file there has changed. With ``streaming``, and of larger sets unless somebody
says otherwise, an image is decoded whenever a step needs it and is not in memory, so that a set may be
larger than the memory; no decoded image is kept on the disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.base.memory import in_words
from ssl_isda.base.options import Interval
from ssl_isda.data.facts import ClassFolders
from ssl_isda.data.folder import notes as folder_notes
from ssl_isda.data.folder.listing import ListingOptions, list_images
from ssl_isda.data.folder.reading import (
    FolderRead,
    decode_all,
    examine_all,
    key_of,
)
from ssl_isda.data.folder.unreadable import refuse_unreadable
from ssl_isda.data.folder.walk import ImageFile, shown
from ssl_isda.data.images import sixteen_bits
from ssl_isda.data.images.complaints import Unreadable
from ssl_isda.data.images.decoding import decode
from ssl_isda.data.images.image_data import DATASETS, ImageData
from ssl_isda.data.streaming import STREAMED_BEYOND, Streaming

FACTS = {"folder": ClassFolders()}


@dataclass(frozen=True)
class Config:
    """Options of ``folder``."""

    image_size: Annotated[int, Interval(ge=1, le=1024)] | None = 32
    """Height and width, in pixels, that images are resized to; none: those that the network's weights
    were trained with, which is the default where such weights are used."""
    interpolation: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] | None = (
        "bilinear"
    )
    """Pillow's filter that resizes them; none: as for the size."""
    streaming: bool | None = None
    """Decode images when a step needs them; unset: beyond 1 GB of pixels, 7,100 images of 224 x 224."""
    follow_links: bool = False
    """Follow links that lead out of the data folder, or to folders."""
    test_fraction: Annotated[float, Interval(gt=0, lt=1)] | None = None
    """Share of each class's images to test on, where the folder has none for that."""
    skip_unreadable: bool = False
    """Train without the images that cannot be read; the run folder keeps their list."""


@DATASETS.register("folder")
def folder(config: Config, data_dir: Path) -> ImageData:
    """The images of ``data_dir`` as RGB, ``image_size`` x ``image_size`` pixels.

    Training images are the labeled ones, then the unlabeled ones (label -1), each sorted by name.

    Raises
    ------
    UsageError
        The layout is not that of ``list_images``; files cannot be read as images, and are not skipped,
        or are all that a class has.
    """
    side, interpolation = _side_and_filter(config)
    if not 1 <= side <= 1024:
        raise UsageError(f"image size {side}: must be between 1 and 1024 pixels")
    listing = list_images(data_dir, ListingOptions.of(vars(config)))
    is_large = 3 * len(listing.files) * side**2 > STREAMED_BEYOND
    streams = is_large if config.streaming is None else config.streaming
    if streams:
        read = examine_all(listing, side, wholly=config.skip_unreadable)
    else:
        read = decode_all(listing, side, interpolation)
    refuse_unreadable(read, skip=config.skip_unreadable)
    found = _streamed(read, side, interpolation) if streams else _in_memory(read)
    said = [_said(read, side)] if streams and config.streaming is None else []
    return replace(
        found,
        notes=(*_notes(read), *said),
        unreadable=read.unreadable,
        bits=read.bits,
        interpolation=interpolation,
        drawn_test=listing.drawn_test,
    )


def _side_and_filter(config: Config) -> tuple[int, str]:
    if config.image_size is None or config.interpolation is None:
        raise UsageError(
            "--image-size none and --interpolation none stand for those that the network's weights were "
            "trained with: they need --model timm or torchvision; give a size and a filter"
        )
    return config.image_size, config.interpolation


def _in_memory(read: FolderRead) -> ImageData:
    return ImageData.from_arrays(
        "folder",
        read.listing.class_names,
        (read.arrays["train_images"], _labels(read.train)),
        (read.arrays["test_images"], _labels(read.test)),
    )


def _streamed(read: FolderRead, image_size: int, interpolation: str) -> ImageData:
    def source(files: Sequence[ImageFile]) -> Streaming:
        paths = [read.listing.root / file.name for file in files]
        key = key_of(read.listing, files, image_size, interpolation)
        return Streaming(
            lambda place: _decoded_late(paths[place], image_size, read.bits, interpolation),
            (3, image_size, image_size),
            torch.from_numpy(_labels(files)),
            key if read.bits == 16 else f"{key}-{read.bits}",
            name=lambda place: shown(paths[place]),
        )

    return ImageData("folder", read.listing.class_names, source(read.train), source(read.test))


def _decoded_late(path: Path, image_size: int, bits: int, interpolation: str) -> np.ndarray:
    try:
        return decode(path, image_size, bits, interpolation)
    except Unreadable as error:
        raise UsageError(
            f"{error}; --skip-unreadable trains without it, in a new run that looks at every image first"
        ) from error


def _notes(read: FolderRead) -> tuple[str, ...]:
    return (
        *read.listing.notes,
        *folder_notes.left_out(read.unreadable),
        *sixteen_bits.note([file.name for file in (*read.train, *read.test)], read.largest),
        *folder_notes.copies(read.train, read.test, read.listing.hashes),
    )


def _said(read: FolderRead, image_size: int) -> str:
    count, size = len(read.listing.files), 3 * len(read.listing.files) * image_size**2
    return (
        f"{count:,} images of {image_size} x {image_size} pixels are {in_words(size)}: each is decoded "
        "when a step needs it; --no-streaming keeps all in memory"
    )


def _labels(files: Sequence[ImageFile]) -> np.ndarray:
    return np.array([file.label for file in files], dtype=np.int64)
