"""ImageNet: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015.

In ``--data-dir``, 1,281,167 + 50,000 photographs of 1,000 classes, which nobody may pass on:

    train/n01440764/*.JPEG   val/n01440764/*.JPEG

``val`` may also be one folder of all its images, with ``LOC_val_solution.csv`` of Kaggle's download
beside it. ``classes.txt`` or ``LOC_synset_mapping.txt``, a line for each class, give the classes their
words. Any images in this layout will do: other classes, and fewer.

Images are decoded when a step needs them, in sizes of their own: ``--resized-crop`` cuts its windows out
of them, and evaluation sees the middle ``image_size`` pixels once the shorter side is brought to
``shorter_side``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.base.options import Interval
from ssl_isda.data.facts import UnseenFolders
from ssl_isda.data.folder import notes as folder_notes
from ssl_isda.data.folder import published
from ssl_isda.data.folder.published import Part
from ssl_isda.data.folder.walk import Walk, shown
from ssl_isda.data.images.complaints import Unreadable
from ssl_isda.data.images.decoding import decode, window_of
from ssl_isda.data.images.image_data import DATASETS, ImageData
from ssl_isda.data.images.own_sizes import OwnSizes

FACTS = {"imagenet": UnseenFolders()}
TRAIN, TEST = "train", "val"
TABLE, WORDS = "LOC_val_solution.csv", ("classes.txt", "LOC_synset_mapping.txt")
LAYOUT = f"expected {TRAIN}/<class>/<images> and {TEST}/<class>/<images>, or {TEST}/<images> with {TABLE}"
Pixels = TypeVar("Pixels")


@dataclass(frozen=True)
class Config:
    """Options of ``imagenet``."""

    image_size: Annotated[int, Interval(ge=1, le=1024)] = 224
    """Height and width of what the network sees, in pixels."""
    shorter_side: Annotated[int, Interval(ge=1, le=2048)] | None = None
    """Evaluated images are brought to this length of their shorter side before the middle is cut out;
    unset: 8/7 of the size, 256 for 224."""
    follow_links: bool = False
    """Follow links that lead out of the data folder, or to folders."""


@DATASETS.register("imagenet")
def imagenet(config: Config, data_dir: Path) -> ImageData:
    """The images of ``data_dir`` as RGB; the classes in order of their folders' names.

    Raises
    ------
    UsageError
        Another layout; a class without an image, or in one part alone; an image of ``val`` without a
        class; a file that cannot be read, once a step asks for it.
    """
    shorter = config.shorter_side or round(config.image_size * 8 / 7)
    if shorter < config.image_size:
        raise UsageError(
            f"--shorter-side {shorter} is less than --image-size {config.image_size}, which is cut "
            "out of it"
        )
    how = f"bilinear {shorter}"
    try:
        walk = Walk(data_dir, follow_links=config.follow_links)
        classes = published.class_folders(walk, TRAIN, LAYOUT)
        train = published.part_of_folders(walk, TRAIN, classes, LAYOUT)
        test = _test(walk, classes)
        names = published.class_names(data_dir, WORDS, classes)
    except OSError as error:
        where = shown(error.filename or data_dir)
        raise UsageError(f"cannot list {where}: {error.strerror}") from error
    for name, reason in walk.unreadable.items():
        raise UsageError(f"{shown(data_dir / name)} is {reason}")
    train_images, test_images = (_source(part, config.image_size, how) for part in (train, test))
    notes = tuple(folder_notes.passed_over(walk))
    return ImageData("imagenet", names, train_images, test_images, notes=notes, interpolation=how)


def _test(walk: Walk, classes: list[str]) -> Part:
    table, folder = walk.root / TABLE, walk.root / TEST
    is_flat = folder.is_dir() and not any(entry.is_dir() for entry in folder.iterdir())
    if table.is_file() and is_flat:
        return published.part_by_table(walk, TEST, classes, table, LAYOUT)
    found = published.class_folders(walk, TEST, LAYOUT)
    published.refuse_other_classes(walk.root, (TRAIN, TEST), {TRAIN: classes, TEST: found})
    return published.part_of_folders(walk, TEST, classes, LAYOUT)


def _source(part: Part, side: int, how: str) -> OwnSizes:
    def read(place: int, decoded: Callable[[Path], Pixels]) -> Pixels:
        try:
            return decoded(part.path(place))
        except Unreadable as error:
            raise UsageError(f"{error}; or remove it, and begin a new run") from error

    return OwnSizes(
        lambda place: read(place, partial(decode, image_size=side, interpolation=how)),
        lambda place, choose: read(place, partial(window_of, size=(side, side), choose=choose)),
        (3, side, side),
        torch.tensor(part.labels),
        part.fingerprint(f"{side} {how}"),
        name=lambda place: shown(part.path(place)),
    )
