"""A user's own images: ``train/<class>/*``, ``unlabeled/*`` (optional) and ``test/<class>/*``.

Every image is decoded and resized once; the result is kept in ``.cache`` inside the data folder and
used again as long as no file there has changed. With ``streaming`` an image is decoded whenever a step
needs it and is not in memory, so that a set may be larger than the memory; no decoded image is kept
on the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.base.options import Interval
from ssl_isda.base.progress import counted
from ssl_isda.data.array_cache import Arrays, cached_arrays
from ssl_isda.data.facts import ClassFolders
from ssl_isda.data.folder_listing import FolderListing, ImageFile, list_images
from ssl_isda.data.image_data import DATASETS, ImageData
from ssl_isda.data.image_decoding import decode
from ssl_isda.data.image_memory import room_for_files
from ssl_isda.data.streaming import Streaming

FACTS = {"folder": ClassFolders()}
CACHE_FORMAT = 2
"""To be raised whenever the same files would give other pixels."""
NUM_THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class Config:
    """Options of ``folder``."""

    image_size: Annotated[int, Interval(ge=1, le=1024)] = 32
    """Height and width, in pixels, that images are resized to."""
    streaming: bool = False
    """Decode images when a step needs them, for sets larger than the memory."""


@DATASETS.register("folder")
def folder(config: Config, data_dir: Path) -> ImageData:
    """The images of ``data_dir`` as RGB, ``image_size`` x ``image_size`` pixels.

    Training images are the labeled ones, then the unlabeled ones (label -1), each sorted by name.

    Raises
    ------
    UsageError
        The layout is not that of ``list_images``, or a file cannot be read as an image.
    """
    if not 1 <= config.image_size <= 1024:
        raise UsageError(f"image size {config.image_size}: must be between 1 and 1024 pixels")
    listing = list_images(data_dir)
    return (_streamed if config.streaming else _in_memory)(listing, config.image_size)


def _in_memory(listing: FolderListing, image_size: int) -> ImageData:
    arrays = cached_arrays(
        listing.root / ".cache" / f"images-{image_size}",
        _key(listing, listing.files, image_size),
        lambda: _decode_all(listing, image_size),
    )
    return ImageData.from_arrays(
        "folder",
        listing.class_names,
        (arrays["train_images"], _labels(_training(listing))),
        (arrays["test_images"], _labels(listing.test)),
    )


def _streamed(listing: FolderListing, image_size: int) -> ImageData:
    def source(files: Sequence[ImageFile]) -> Streaming:
        paths = [listing.root / file.name for file in files]
        return Streaming(
            lambda place: decode(paths[place], image_size),
            (3, image_size, image_size),
            torch.from_numpy(_labels(files)),
            _key(listing, files, image_size),
        )

    return ImageData(
        "folder", listing.class_names, source(_training(listing)), source(listing.test)
    )


def _training(listing: FolderListing) -> list[ImageFile]:
    return [*listing.train, *listing.unlabeled]


def _labels(files: Sequence[ImageFile]) -> np.ndarray:
    return np.array([file.label for file in files], dtype=np.int64)


def _key(listing: FolderListing, files: Sequence[ImageFile], image_size: int) -> str:
    """SHA-256 over what the pixels depend on: names and contents of the files; image size."""
    parts = [CACHE_FORMAT, image_size, listing.contents(files)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _decode_all(listing: FolderListing, image_size: int) -> Arrays:
    with room_for_files(len(listing.files), image_size):
        return {
            "train_images": _decode_files(listing.root, _training(listing), image_size),
            "test_images": _decode_files(listing.root, listing.test, image_size),
        }


def _decode_files(root: Path, files: Sequence[ImageFile], image_size: int) -> np.ndarray:
    """(N, 3, H, W). Pillow's decoders and filters work outside the interpreter's lock."""
    images = np.empty((len(files), 3, image_size, image_size), dtype=np.uint8)

    def fill(position: int) -> None:
        images[position] = decode(root / files[position].name, image_size)

    pool = ThreadPoolExecutor(NUM_THREADS)
    try:
        done = pool.map(fill, range(len(files)))
        for _ in counted(done, len(files), "image"):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
    return images
