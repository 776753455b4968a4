"""A whole data set whose pixels have classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ssl_isda.data.identity import digest_of
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.preparation import Preparation
from ssl_isda.data.source import DataSource, InMemory

Colour = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class MaskData(ImageData):
    """Images of one size, each with a mask of that size, or without one.

    The label of an image in ``train.labels`` is 0 where it has a mask and -1 where it has none: a number
    of labels is a number of masks.

    train_masks, test_masks : (1, H, W) uint8 for each image: classes, and ``VOID`` where there is none
    palette : a colour for each class, red, green and blue from 0 to 255
    """

    train_masks: DataSource = field(repr=False)
    test_masks: DataSource = field(repr=False)
    palette: tuple[Colour, ...]

    @property
    def num_label_groups(self) -> int:
        return 1

    @property
    def is_dense(self) -> bool:
        return True

    @property
    def train_targets(self) -> DataSource:
        return self.train_masks

    @property
    def test_targets(self) -> DataSource:
        return self.test_masks

    def completed(self, preparation: Preparation) -> Preparation:
        """With the palette, (c, 3) uint8, among its arrays."""
        palette = np.array(self.palette, dtype=np.uint8)
        return replace(preparation, arrays={**preparation.arrays, "palette": palette})

    @property
    def digest(self) -> str:
        train, test = (
            "/".join((images.fingerprint, masks.fingerprint))
            for images, masks in ((self.train, self.train_masks), (self.test, self.test_masks))
        )
        return digest_of(self.class_names, train, test)

    @property
    def digests(self) -> tuple[str, ...]:
        return (self.digest,)

    @classmethod
    def from_masks(
        cls,
        name: str,
        class_names: Sequence[str],
        palette: Sequence[Colour],
        train: tuple[np.ndarray, np.ndarray, np.ndarray],
        test: tuple[np.ndarray, np.ndarray],
        notes: Sequence[str] = (),
    ) -> MaskData:
        """From arrays in memory.

        Parameters
        ----------
        train : images (N, C, H, W) and masks (N, H, W), both uint8, and labels (N,), 0 or -1
        test : images and masks
        """
        images, masks, labels = train
        return cls(
            name,
            tuple(class_names),
            _in_memory(images, labels),
            _in_memory(test[0], np.zeros(len(test[0]), np.int64)),
            notes=tuple(notes),
            train_masks=_in_memory(masks[:, None]),
            test_masks=_in_memory(test[1][:, None]),
            palette=tuple(palette),
        )


def _in_memory(pixels: np.ndarray, labels: np.ndarray | None = None) -> InMemory:
    of_images = None if labels is None else torch.from_numpy(labels.astype(np.int64))
    return InMemory(torch.from_numpy(np.ascontiguousarray(pixels)), of_images)
