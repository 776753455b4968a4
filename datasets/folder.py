"""A user's own images: ``train/<class>/*``, ``unlabeled/*`` (optional) and ``test/<class>/*``.

Every image is decoded and resized once; the result is kept in ``.cache`` inside the data folder and
used again as long as no file there has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.base.options import Interval
from ssl_isda.data.array_cache import Arrays, cached_arrays
from ssl_isda.data.folder_listing import FolderListing, ImageFile, list_images
from ssl_isda.data.image_data import DATASETS, ImageData
from ssl_isda.data.image_decoding import decode, large_images_allowed

CACHE_FORMAT = 1
"""To be raised whenever the same files would give other pixels."""
NUM_THREADS = min(8, os.cpu_count() or 1)
MAX_IMAGE_SIZE = 1024


@dataclass(frozen=True)
class Config:
    """Options of ``folder``."""

    image_size: Annotated[int, Interval(ge=1, le=1024)] = 32
    """Height and width, in pixels, that images are resized to."""


@DATASETS.register("folder")
def folder(data_dir: Path, image_size: int = 32) -> ImageData:
    """The images of ``data_dir`` as RGB, ``image_size`` x ``image_size`` pixels.

    Training images are the labeled ones, then the unlabeled ones (label -1), each sorted by name.

    Raises
    ------
    UsageError
        The layout is not that of ``list_images``, or a file cannot be read as an image.
    """
    if not 1 <= image_size <= MAX_IMAGE_SIZE:
        raise UsageError(f"image size {image_size}: must be between 1 and {MAX_IMAGE_SIZE} pixels")
    listing = list_images(data_dir)
    arrays = cached_arrays(
        data_dir / ".cache" / f"images-{image_size}",
        _key(listing, image_size),
        lambda: _decode_all(data_dir, listing, image_size),
    )
    return ImageData.from_arrays(
        "folder",
        listing.class_names,
        (arrays["train_images"], _labels([*listing.train, *listing.unlabeled])),
        (arrays["test_images"], _labels(listing.test)),
    )


def _labels(files: Sequence[ImageFile]) -> np.ndarray:
    return np.array([file.label for file in files], dtype=np.int64)


def _key(listing: FolderListing, image_size: int) -> str:
    """SHA-256 over what the pixels depend on: names, sizes, times of the files; image size."""
    digest = hashlib.sha256(f"{CACHE_FORMAT}/{image_size}".encode())
    for file in (*listing.train, *listing.unlabeled, *listing.test):
        digest.update(json.dumps([file.name, file.size, file.modified]).encode())
    return digest.hexdigest()


def _decode_all(data_dir: Path, listing: FolderListing, image_size: int) -> Arrays:
    training = [*listing.train, *listing.unlabeled]
    with large_images_allowed():
        return {
            "train_images": _decode_files(data_dir, training, image_size),
            "test_images": _decode_files(data_dir, listing.test, image_size),
        }


def _decode_files(data_dir: Path, files: Sequence[ImageFile], image_size: int) -> np.ndarray:
    """(N, 3, H, W). Pillow's decoders and filters work outside the interpreter's lock."""
    from tqdm import tqdm

    images = np.empty((len(files), 3, image_size, image_size), dtype=np.uint8)

    def fill(position: int) -> None:
        images[position] = decode(data_dir / files[position].name, image_size)

    pool = ThreadPoolExecutor(NUM_THREADS)
    try:
        done = pool.map(fill, range(len(files)))
        for _ in tqdm(done, "reading images", len(files), disable=not sys.stderr.isatty()):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
    return images
