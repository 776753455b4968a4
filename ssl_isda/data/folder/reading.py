"""All images of a folder, read once and remembered by their contents: pixels, or that they can be read.

What is remembered stays of use when files come, go or are mended: an image whose bytes were read before
is not decoded again. That some cannot be read keeps none of the others from being remembered.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ssl_isda.base.progress import counted
from ssl_isda.data.array_cache import Arrays, renewed_arrays
from ssl_isda.data.folder.listing import FolderListing
from ssl_isda.data.folder.walk import ImageFile
from ssl_isda.data.images.complaints import Unreadable
from ssl_isda.data.images.decoding import Decoded, decoded, decoders, largest_value
from ssl_isda.data.images.memory import room_for_files
from ssl_isda.data.images.sixteen_bits import NOT_16_BITS, bits_for

CACHE_FORMAT = 2
"""To be raised whenever the same files would give other pixels: what is kept is then read anew."""
UNNOTED_FORMAT = 2
"""Of what earlier versions kept, which did not note it."""
NUM_THREADS = min(8, os.cpu_count() or 1)
DARKEST_OF_16_BITS = 64
"""What the brightest pixel of an image reaches that uses 14 bits of 16, read as if it used all."""
Read = Callable[[Path, int], Decoded]


@dataclass(frozen=True)
class FolderRead:
    """What was found in the files of a listing; ``arrays`` as they are kept."""

    listing: FolderListing
    arrays: Arrays

    @cached_property
    def unreadable(self) -> dict[str, str]:
        """Name of each image that cannot be read, and what it is and what to do."""
        return {**self.listing.unreadable, **_complaints(self.arrays)[1]}

    @cached_property
    def train(self) -> list[ImageFile]:
        """The readable images to train on: labeled, then unlabeled."""
        return self._readable([*self.listing.train, *self.listing.unlabeled])

    @cached_property
    def test(self) -> list[ImageFile]:
        """The readable images of the test part."""
        return self._readable(self.listing.test)

    @property
    def largest(self) -> np.ndarray:
        """The largest value of each readable image of 16 bits, training first."""
        of_none = np.full(len(self.train) + len(self.test), NOT_16_BITS)
        return self.arrays.get("largest", of_none)

    @property
    def bits(self) -> int:
        """Of 16, that the images use."""
        return bits_for(int(self.largest.max(initial=NOT_16_BITS)))

    def _readable(self, files: Sequence[ImageFile]) -> list[ImageFile]:
        unreadable = self.unreadable
        return [file for file in files if file.name not in unreadable] if unreadable else [*files]


def decode_all(
    listing: FolderListing, image_size: int, interpolation: str = "bilinear"
) -> FolderRead:
    """Every image decoded: ``arrays`` has ``train_images`` and ``test_images``, (n, 3, h, w) uint8."""

    def read(path: Path, bits: int) -> Decoded:
        return decoded(path, image_size, bits, interpolation)

    def compute(earlier: Arrays) -> Arrays:
        with room_for_files(len(listing.files), image_size):
            images = np.empty((len(listing.files), 3, image_size, image_size), np.uint8)
            return _Pass(listing, earlier, read, images).run()

    how = [str(image_size), *_unusual(interpolation)]
    folder = listing.root / ".cache" / "-".join(["images", *how])
    key = key_of(listing, listing.files, image_size, interpolation)
    return FolderRead(listing, renewed_arrays(folder, key, compute, _is_current))


def examine_all(listing: FolderListing, image_size: int, *, wholly: bool) -> FolderRead:
    """No pixels: whether every image can be opened or, ``wholly``, decoded; and its values of 16 bits."""

    def read(path: Path, bits: int) -> Decoded:
        if wholly:
            return decoded(path, image_size, bits)
        return Decoded(np.empty(0, np.uint8), largest_value(path))

    def compute(earlier: Arrays) -> Arrays:
        known = earlier if earlier.get("wholly", False) or not wholly else {}
        return {**_Pass(listing, known, read, None).run(), "wholly": np.array(wholly)}

    def is_current(arrays: Arrays) -> bool:
        return _is_current(arrays) and (bool(arrays["wholly"]) or not wholly)

    folder, key = listing.root / ".cache" / "examined", key_of(listing, listing.files, 0)
    return FolderRead(listing, renewed_arrays(folder, key, compute, is_current))


def _unusual(interpolation: str) -> list[str]:
    """The filter, where it is not the one that there used to be alone."""
    return [interpolation] if interpolation != "bilinear" else []


def key_of(
    listing: FolderListing,
    files: Sequence[ImageFile],
    image_size: int,
    interpolation: str = "bilinear",
) -> str:
    """SHA-256 over what the pixels and labels depend on: names and contents of the files, what tables
    say of them; image size and filter."""
    parts = [CACHE_FORMAT, image_size, listing.identities(files), *_unusual(interpolation)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class _Pass:
    """One pass over all files of a listing, which reads those that ``earlier`` does not have.

    Parameters
    ----------
    read : of a path, given how many bits of 16 the images use
    images : (N, 3, h, w), to be filled; None where pixels are not kept
    """

    def __init__(
        self, listing: FolderListing, earlier: Arrays, read: Read, images: np.ndarray | None
    ) -> None:
        self.listing, self.read, self.images = listing, read, images
        self.names = [file.name for file in listing.files]
        self.hashes = [content for _, content in listing.contents(listing.files)]
        self.largest = np.full(len(listing.files), NOT_16_BITS, np.int32)
        self.failures: dict[int, str] = {}
        self.is_lasting = True
        self.earlier = earlier if _may_be_taken_over(earlier) else {}
        self.places = {
            row.tobytes().hex(): k for k, row in enumerate(self.earlier.get("hashes", ()))
        }
        self.bits = bits_for(
            int(self.earlier.get("largest", self.largest).max(initial=NOT_16_BITS))
        )

    def run(self) -> Arrays:
        """The arrays to keep: of the readable files alone, training before test."""
        self._fill(range(len(self.hashes)))
        bits = bits_for(int(self.largest.max(initial=NOT_16_BITS)))
        if bits != self.bits and self.images is not None:
            self.bits, self.places = bits, {}
            self._fill(np.flatnonzero(self.largest != NOT_16_BITS).tolist())
        kept = np.array([k not in self.failures for k in range(len(self.hashes))], bool)
        names = {self.names[k]: reason for k, reason in sorted(self.failures.items())}
        with_what = {"decoders": decoders() if self.is_lasting else "", "files": names}
        found = {
            "hashes": _as_rows([h for h, keep in zip(self.hashes, kept, strict=True) if keep]),
            "largest": self.largest[kept],
            "unreadable": np.frombuffer(json.dumps(with_what).encode(), np.uint8),
            "format": np.array(CACHE_FORMAT),
        }
        return found if self.images is None else {**self._parts(kept), **found}

    def _parts(self, kept: np.ndarray) -> Arrays:
        assert self.images is not None
        cut = len(kept) - len(self.listing.test)
        train, test = self.images[:cut], self.images[cut:]
        if not kept.all():
            train, test = train[kept[:cut]], test[kept[cut:]]
        return {"train_images": train, "test_images": test}

    def _fill(self, which: Sequence[int]) -> None:
        """Pillow's decoders and filters work outside the interpreter's lock."""
        pool = ThreadPoolExecutor(NUM_THREADS)
        try:
            for _ in counted(pool.map(self._fill_one, which), len(which), "image"):
                pass
        finally:
            pool.shutdown(cancel_futures=True)

    def _fill_one(self, k: int) -> None:
        name = self.names[k]
        if not self.hashes[k]:
            self.failures[k] = self.listing.unopened[name]
            return
        try:
            found = self._found(k) or self.read(self.listing.root / name, self.bits)
        except Unreadable as error:
            self.failures[k] = error.reason
            self.is_lasting &= error.is_lasting
            return
        self.largest[k] = found.largest
        if self.images is not None:
            self.images[k] = found.pixels

    def _found(self, k: int) -> Decoded | None:
        """What an earlier pass made of the same bytes."""
        place = self.places.get(self.hashes[k])
        if place is None:
            return None
        largest = int(self.earlier["largest"][place])
        if self.images is None:
            return Decoded(np.empty(0, np.uint8), largest)
        train, test = self.earlier["train_images"], self.earlier["test_images"]
        pixels = train[place] if place < len(train) else test[place - len(train)]
        return Decoded(pixels, largest)


def _may_be_taken_over(earlier: Arrays) -> bool:
    """Whether what is kept of a file says what this version would make of the same bytes."""
    kept_as = int(earlier.get("format", UNNOTED_FORMAT))
    return "hashes" in earlier and kept_as == CACHE_FORMAT


def _as_rows(hashes: Sequence[str]) -> np.ndarray:
    """(n, 32) uint8."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(-1, 32)


def _complaints(arrays: Arrays) -> tuple[str, dict[str, str]]:
    """With what was read, and what could not be."""
    if "unreadable" not in arrays:
        return "", {}
    kept = json.loads(arrays["unreadable"].tobytes())
    return kept["decoders"], kept["files"]


def _is_current(arrays: Arrays) -> bool:
    """Whether nothing would be read better now: by other decoders, or than by version 0.1."""
    if "largest" not in arrays:
        images = (arrays["train_images"], arrays["test_images"])
        return not any(_may_be_dark(part) for part in images)
    with_what, files = _complaints(arrays)
    return not files or with_what == decoders()


def _may_be_dark(images: np.ndarray) -> bool:
    """Whether one may be of 16 bits and use fewer, which version 0.1 read as if it used all."""
    dark = images[images.max(axis=(1, 2, 3), initial=0) <= DARKEST_OF_16_BITS]
    return bool((dark == dark[:, :1]).all(axis=(1, 2, 3)).any())
