"""A folder of images and masks, read whole into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import counted
from ssl_isda.base.void import VOID
from ssl_isda.data.folder.classes import listed
from ssl_isda.data.folder.walk import shown
from ssl_isda.data.masks.classes import FILE_NAME, MaskClasses, default_palette, read_classes
from ssl_isda.data.masks.decoding import Size, check_sizes, image_of, mask_of, palette_of
from ssl_isda.data.masks.mask_data import MaskData
from ssl_isda.data.masks.pairs import MaskFiles, Pair, find_pairs
from ssl_isda.data.streaming import NUM_THREADS

Result = TypeVar("Result")


def read_folder(name: str, root: Path, image_size: int | None) -> MaskData:
    """All images and masks of a folder that ``find_pairs`` lists.

    Parameters
    ----------
    image_size : height and width that images and masks are brought to; None: their own, which must
        then be those of all

    Raises
    ------
    UsageError
        Files are missing, cannot be read or do not fit together; images are of several sizes; a mask
        has an id or a colour that is no class; a class has no pixel in a training mask.
    """
    files, classes = find_pairs(root), read_classes(root)
    size = _size(files, image_size)
    labeled = _read(files.root, files.train, size, classes)
    unlabeled = _read(files.root, files.unlabeled, size, classes)
    test = _read(files.root, files.test, size, classes)
    known = classes or _numbered(labeled[1], test[1])
    if not known.ids:
        colours = palette_of(root / str(files.train[0].mask), len(known.names))
        known = replace(known, colours=colours or known.colours)
    empty = _empty_classes(root, known, labeled[1], named=classes is not None)
    if len(files.test) and (test[1] == VOID).all():
        raise UsageError(
            f"{shown(root / 'test/masks')}: no pixel has a class, so that nothing can be tested; without "
            "test/ a run has no scores"
        )
    labels = np.repeat([0, -1], [len(files.train), len(files.unlabeled)])
    images, masks = (np.concatenate(pair) for pair in zip(labeled, unlabeled, strict=True))
    train = (images, masks, labels)
    notes = (*files.notes, *empty)
    return MaskData.from_masks(name, known.names, known.colours, train, test, notes)


def _size(files: MaskFiles, image_size: int | None) -> Size:
    """That all images are brought to; every mask is held against its image first."""
    sizes: dict[Size, str] = {}
    every = (*files.train, *files.test, *files.unlabeled)
    found = _mapped(lambda pair: _size_of(files.root, pair), every)
    for pair, size in zip(every, found, strict=True):
        sizes.setdefault(size, pair.image)
    if image_size is not None:
        return image_size, image_size
    (first, *others) = sizes
    if others:
        (h, w), (other_h, other_w) = first, others[0]
        raise UsageError(
            f"{shown(files.root)}: {shown(sizes[first])} is {w} x {h} pixels and "
            f"{shown(sizes[others[0]])} {other_w} x {other_h}; --image-size 256 brings all to one size"
        )
    return first


def _size_of(root: Path, pair: Pair) -> Size:
    return check_sizes(root / pair.image, None if pair.mask is None else root / pair.mask)


def _read(
    root: Path, pairs: Sequence[Pair], size: Size, classes: MaskClasses | None
) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3, h, w) images and (n, h, w) masks, void where there is none."""

    def both(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        image = image_of(root / pair.image, size)
        if pair.mask is None:
            return image, np.full(size, VOID, np.uint8)
        return image, mask_of(root / pair.mask, classes, size)

    images, masks = (
        np.empty((len(pairs), 3, *size), np.uint8),
        np.empty((len(pairs), *size), np.uint8),
    )
    for place, (image, mask) in enumerate(counted(_mapped(both, pairs), len(pairs), "image")):
        images[place], masks[place] = image, mask
    return images, masks


def _mapped(function: Callable[[Pair], Result], pairs: Sequence[Pair]) -> Iterator[Result]:
    """In order; threads decode side by side."""
    with ThreadPoolExecutor(NUM_THREADS, "decoding") as threads:
        yield from threads.map(function, pairs)


def _numbered(*masks: np.ndarray) -> MaskClasses:
    """The classes of masks that no file names: as many as the largest id says."""
    largest = max(
        (int(part[part != VOID].max()) for part in masks if (part != VOID).any()), default=0
    )
    names = tuple(str(number) for number in range(max(2, largest + 1)))
    return MaskClasses(names, default_palette(len(names)), {})


def _empty_classes(
    root: Path, classes: MaskClasses, masks: np.ndarray, *, named: bool
) -> list[str]:
    """A note of the classes that ``classes.txt`` names and no training mask has a pixel of.

    Raises
    ------
    UsageError
        Nothing names them: ids have gaps; or no two classes have a pixel.
    """
    counts = np.bincount(masks.reshape(-1), minlength=VOID + 1)
    empty = [name for name, count in zip(classes.names, counts, strict=False) if count == 0]
    occurring = len(classes.names) - len(empty)
    if occurring < 2:
        advice = (
            f"; in masks of one channel {VOID} is a pixel without a class, so that those of 0 and {VOID} "
            "must be saved as 0 and 1"
        )
        raise UsageError(
            f"{shown(root)}: training masks have pixels of {occurring} class"
            f"{'es' * (occurring != 1)}, and two are needed{advice if counts[VOID] else ''}"
        )
    if not empty:
        return []
    if named:
        are = "the class" if len(empty) == 1 else f"{len(empty)} classes"
        return [f"no training mask has a pixel of {are} {listed(empty)}"]
    present = ", ".join(str(number) for number in np.flatnonzero(counts[:VOID]))
    raise UsageError(
        f"{shown(root)}: training masks have the ids {present}, and none has {empty[0]}; ids go from 0 "
        f"on without a gap, unless {FILE_NAME} names the classes, one a line"
    )
