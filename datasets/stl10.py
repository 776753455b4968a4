"""STL-10 (Coates, Ng, Lee, 2011): 5,000 + 8,000 colour images of 96 x 96 pixels, 100,000 without labels.

The images without labels are of the same and of other classes. Ten folds of 1,000 labeled images are
published with the data; FixMatch and the papers before it average over the first five.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.base.options import Interval
from ssl_isda.data.download import DataFile, provide
from ssl_isda.data.facts import DatasetFacts
from ssl_isda.data.images.image_data import DATASETS, ImageData

FACTS = {"stl10": DatasetFacts(10, 5_000, 500, 96, 3, num_unlabeled_images=100_000)}
CLASS_NAMES = (
    *("airplane", "bird", "car", "cat", "deer"),
    *("dog", "horse", "monkey", "ship", "truck"),
)
FOLDS_FILE, NUM_FOLDS = "fold_indices.txt", 10
AT_ONCE = 1_000
"""Images that are turned upright at a time."""


@dataclass(frozen=True)
class Config:
    """Options of ``stl10``."""

    fold: Annotated[int, Interval(ge=0, le=9)] | None = None
    """Its published fold of 1,000 labeled images; unset: labeled images are drawn by the seed."""


@DATASETS.register("stl10")
def stl10(config: Config, data_dir: Path) -> ImageData:
    """STL-10 from ``data_dir/stl10_binary``, from the archive beside it, or downloaded.

    The 100,000 images without labels follow the 5,000 training images (label -1).
    """
    from torchvision.datasets import STL10

    published = [*STL10.train_list, *STL10.test_list, (FOLDS_FILE, "")]
    files = [DataFile(f"{STL10.base_folder}/{name}", md5) for name, md5 in published]
    archive = DataFile(STL10.filename, STL10.tgz_md5, STL10.url)
    provide("stl10", data_dir, files, archive)
    folder = data_dir / STL10.base_folder
    labels = _labels(folder / "train_y.bin")
    images = _images([folder / "train_X.bin", folder / "unlabeled_X.bin"])
    unlabeled = np.full(len(images) - len(labels), -1)
    test = _images([folder / "test_X.bin"]), _labels(folder / "test_y.bin")
    train = images, np.concatenate([labels, unlabeled])
    data = ImageData.from_arrays("stl10", CLASS_NAMES, train, test)
    if config.fold is None:
        return data
    return replace(data, labeled=_fold(folder / FOLDS_FILE, config.fold, len(labels)))


def _images(files: Sequence[Path]) -> np.ndarray:
    """(N, 3, 96, 96) uint8 of all files, which hold each channel column by column."""
    parts = [np.memmap(file, np.uint8, mode="r").reshape(-1, 3, 96, 96) for file in files]
    images = np.empty((sum(map(len, parts)), 3, 96, 96), np.uint8)
    first = 0
    for part in parts:
        for start in range(0, len(part), AT_ONCE):
            block = part[start : start + AT_ONCE]
            images[first : first + len(block)] = block.transpose(0, 1, 3, 2)
            first += len(block)
    return images


def _labels(file: Path) -> np.ndarray:
    """(N,) from 0 on; the file counts classes from 1."""
    return np.fromfile(file, np.uint8).astype(np.int64) - 1


def _fold(file: Path, fold: int, num_labeled: int) -> tuple[int, ...]:
    """The labeled images of a fold, ascending."""
    try:
        lines = file.read_text("ascii").splitlines()
        places = sorted({int(word) for word in lines[fold].split()})
        usable = len(lines) == NUM_FOLDS and places[0] >= 0 and places[-1] < num_labeled
    except (ValueError, IndexError):
        usable = False
    if not usable:
        raise UsageError(
            f"{file} is damaged: it should have {NUM_FOLDS} lines of places below {num_labeled:,}; "
            "delete it and run the command again"
        )
    return tuple(places)
