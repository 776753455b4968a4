"""Mini-batches of images whose pixels have classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.data.batch import Batch
from ssl_isda.data.batches import TwoStreamBatches, steps_ahead
from ssl_isda.data.masks.crops import Crops
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import DataSource
from ssl_isda.data.views import View
from ssl_isda.parallel.distributed import part

LABELED = "labeled"
UNLABELED_WINDOWS = "unlabeled"
"""The purpose that the windows of all views of the unlabeled images share."""


class MaskBatches(TwoStreamBatches):
    """As ``TwoStreamBatches``; ``labels`` of a batch are masks, (L, h, w) int64 with ``VOID``.

    All views of an unlabeled image show the same window, whatever ``same_flip_as`` says: their pixels
    belong together.

    Parameters
    ----------
    masks : (1, H, W) uint8 for each training image
    """

    _augmentation: Crops

    def __init__(self, masks: DataSource, *data: Any, **settings: Any) -> None:
        super().__init__(*data, **settings)
        self._masks = masks.to(self.device)

    def batch(self, step: Step) -> Batch:
        """The batch of ``step``: the masks are cut as their images are."""
        labeled = self.sampler.labeled(step.index)
        draws = self._augmentation.draw(len(labeled), step, LABELED)
        masks = self._augmentation.masks(self._masks, part(labeled), part(draws))
        return replace(super().batch(step), labels=masks)

    def _expect(self, step: Step) -> None:
        super()._expect(step)
        if steps := steps_ahead(self._masks, step):
            self._masks.expect(torch.cat([part(self.sampler.labeled(index)) for index in steps]))

    def _augmented(
        self, view: View, step: Step, indices: Tensor, purpose: str, prepared: PreparedImages
    ) -> Tensor:
        crops = self._augmentation if view.augmentation is None else self._named[view.augmentation]
        assert isinstance(crops, Crops)
        is_labeled = purpose == LABELED
        windows_of = LABELED if is_labeled else UNLABELED_WINDOWS
        draws = crops.draw(len(indices), step, purpose, windows_of)
        return crops.view(prepared, part(indices), part(draws), covers=not is_labeled)
