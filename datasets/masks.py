"""A user's own images with masks: ``train/images/*``, ``train/masks/*``, ``test/images/*``,
``test/masks/*`` and, if there are any, ``unlabeled/*``.

A mask is a picture of its image's size and name, for instance a PNG: with one channel, or a palette, its
pixels are the numbers of the classes from 0 on, and 255 where there is no class; in colour,
``classes.txt`` says which colour is which class (``ssl_isda.data.masks.classes``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ssl_isda.base.options import Interval
from ssl_isda.data.facts import MaskFiles
from ssl_isda.data.images.image_data import DATASETS
from ssl_isda.data.masks.mask_data import MaskData
from ssl_isda.data.masks.reading import read_folder

FACTS = {"masks": MaskFiles()}


@dataclass(frozen=True)
class Config:
    """Options of ``masks``."""

    image_size: Annotated[int, Interval(ge=8, le=4096)] | None = None
    """Height and width, in pixels, that images and masks are brought to; unset: their own, which must be
    those of all."""


@DATASETS.register("masks")
def masks(config: Config, data_dir: Path) -> MaskData:
    """The images and masks of ``data_dir``: those with masks, then the unlabeled ones, by name.

    Raises
    ------
    UsageError
        What ``read_folder`` refuses.
    """
    return read_folder("masks", data_dir, config.image_size)
