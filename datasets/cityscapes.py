"""Cityscapes: Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016.

In ``--data-dir``, as the archives ``leftImg8bit_trainvaltest.zip`` and ``gtFine_trainvaltest.zip`` of
cityscapes-dataset.com unpack, which nobody may pass on:

    leftImg8bit/train/<city>/<city>_000000_000019_leftImg8bit.png
    gtFine/train/<city>/<city>_000000_000019_gtFine_labelIds.png
    leftImg8bit/val/...   gtFine/val/...

The 2,975 images of ``train`` are trained on and the 500 of ``val`` tested on. Masks have 34 ids, of which
19 are classes; all others are pixels without a class. With ``--unlabeled-extra`` the images of
``leftImg8bit/train_extra`` (19,998) are trained on without their labels. Images and masks are decoded
when a step needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.base.void import VOID
from ssl_isda.data.facts import MaskFiles
from ssl_isda.data.folder.walk import shown
from ssl_isda.data.images.image_data import DATASETS
from ssl_isda.data.masks.decoding import check_sizes, image_of, raw_ids_of
from ssl_isda.data.masks.mask_data import MaskData
from ssl_isda.data.masks.streamed import streamed_pairs

CLASSES = (
    *((7, "road", (128, 64, 128)), (8, "sidewalk", (244, 35, 232)), (11, "building", (70, 70, 70))),
    *((12, "wall", (102, 102, 156)), (13, "fence", (190, 153, 153)), (17, "pole", (153, 153, 153))),
    *((19, "traffic light", (250, 170, 30)), (20, "traffic sign", (220, 220, 0))),
    *((21, "vegetation", (107, 142, 35)), (22, "terrain", (152, 251, 152))),
    *((23, "sky", (70, 130, 180)), (24, "person", (220, 20, 60)), (25, "rider", (255, 0, 0))),
    *((26, "car", (0, 0, 142)), (27, "truck", (0, 0, 70)), (28, "bus", (0, 60, 100))),
    *((31, "train", (0, 80, 100)), (32, "motorcycle", (0, 0, 230)), (33, "bicycle", (119, 11, 32))),
)
"""Id in the masks, name and colour of each of the 19 classes, as the authors' scripts have them."""
NUM_IDS = 34
IMAGE, MASK = "_leftImg8bit.png", "_gtFine_labelIds.png"
LAYOUT = (
    "expected leftImg8bit/train/<city>/*_leftImg8bit.png and "
    "gtFine/train/<city>/*_gtFine_labelIds.png"
)

FACTS = {"cityscapes": MaskFiles()}


@dataclass(frozen=True)
class Config:
    """Options of ``cityscapes``."""

    unlabeled_extra: bool = False
    """Train on the images of leftImg8bit/train_extra, too, without labels."""


@DATASETS.register("cityscapes")
def cityscapes(config: Config, data_dir: Path) -> MaskData:
    """RGB images of one size, 1024 x 2048 as published, and their masks, by name.

    Raises
    ------
    UsageError
        Another layout, an image without its mask, or sizes that differ; when a step decodes it, a mask
        with an id beyond 33.
    """
    train, test = _pairs(data_dir, "train"), _pairs(data_dir, "val")
    extra = _images(data_dir, "train_extra") if config.unlabeled_extra else []
    size = check_sizes(*train[0])
    names = tuple(name for _, name, _ in CLASSES)
    labels = torch.tensor([0] * len(train) + [-1] * len(extra))
    unlabeled: list[tuple[Path, Path | None]] = [(path, None) for path in extra]
    train_images, train_masks = streamed_pairs(
        data_dir, [*train, *unlabeled], labels, size, image_of, mask_of
    )
    test_images, test_masks = streamed_pairs(
        data_dir, test, torch.zeros(len(test), dtype=torch.int64), size, image_of, mask_of
    )
    return MaskData(
        "cityscapes",
        names,
        train_images,
        test_images,
        train_masks=train_masks,
        test_masks=test_masks,
        palette=tuple(colour for _, _, colour in CLASSES),
    )


def _pairs(root: Path, part: str) -> list[tuple[Path, Path | None]]:
    images = _images(root, part)
    masks = [
        root / "gtFine" / part / path.parent.name / path.name.replace(IMAGE, MASK)
        for path in images
    ]
    for image, mask in zip(images, masks, strict=True):
        if not mask.is_file():
            raise UsageError(f"{shown(image)} has no mask {shown(mask)}; {LAYOUT}")
    return [*zip(images, masks, strict=True)]


def _images(root: Path, part: str) -> list[Path]:
    found = sorted((root / "leftImg8bit" / part).glob(f"*/*{IMAGE}"))
    if not found:
        raise UsageError(f"{shown(root / 'leftImg8bit' / part)} has no image; {LAYOUT}")
    return found


def mask_of(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(h, w) uint8: the 34 ids as 19 classes, ``VOID`` for all others.

    Raises
    ------
    UsageError
        Another size, or an id that Cityscapes does not have.
    """
    ids = raw_ids_of(path)
    if ids.shape != size:
        raise UsageError(
            f"{shown(path)} is {ids.shape[-1]} x {ids.shape[0]} pixels, and the images are {size[1]} x "
            f"{size[0]}"
        )
    outside = (ids < 0) | (ids >= NUM_IDS)
    if outside.any():
        raise UsageError(
            f"{shown(path)} has the id {ids[outside][0]}; those of Cityscapes are 0 to {NUM_IDS - 1}: "
            "files *_labelIds.png are meant, not *_labelTrainIds.png"
        )
    found: np.ndarray = table([number for number, *_ in CLASSES])[ids]
    return found


def table(ids: Sequence[int]) -> np.ndarray:
    """(34,) uint8: the class of each id."""
    classes = np.full(NUM_IDS, VOID, np.uint8)
    classes[list(ids)] = np.arange(len(ids))
    return classes
