r"""One class for each pixel: every pixel that has one is a row.

A network gives logits z and features a of cells, (n, c, h', w') and (n, a, h', w'), often fewer than the
pixels of a mask y, (n, h, w). As in the official code of ISDA for Cityscapes:

1. the mask goes DOWN to the cells by taking the nearest pixel, y';
2. the cells that have a class are the rows that the class covariances take in, and Prop. 1 augments
   them at the size of the features: z'_ij = z_ij + (lambda/2) q_{y'_i}[j, y'_i] (cells without a class
   stay as they are);
3. the augmented logits go UP to the pixels bilinearly, corners on corners;
4. the loss is the mean over the pixels that have a class,

.. math:: L = -\frac{1}{|\{p: y_p \neq 255\}|} \sum_{p:\, y_p \neq 255} \log
    \frac{e^{u_{p y_p}}}{\sum_j e^{u_{pj}}}, \qquad u = \mathrm{up}(z').

Pixels of class 255 (``VOID``) enter nothing: no loss, no covariance, no score. Near the border of such a
region, and of a class, u mixes the augmentation of neighbouring cells, as it does in the official code.
With cells of the pixels' size steps 1 and 3 do nothing: the loss is ``isda_cross_entropy`` of the rows.

Unlabeled images: every cell is a row of Prop. 2, and of a method's own term.

Source: Wang et al., Regularizing Deep Networks with Semantic Data Augmentation, TPAMI 2021, Sec. 6.4;
blackfeather-wang/ISDA-for-Deep-Networks, folder "Semantic segmentation on Cityscapes".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.base.void import VOID
from ssl_isda.models.contract import Prediction
from ssl_isda.tasks.contract import TASKS, Augmented, Calibration, Metric, Rows, class_ious
from ssl_isda.tasks.sliding import Passes

NO_CLASS = -100
"""What losses and covariances pass over."""


@dataclass(frozen=True)
class Config:
    """How whole images are evaluated, and how much the auxiliary head counts."""

    evaluation_window: Annotated[int, Interval(ge=8)] | None = None
    """Side of the windows that slide over an image when it is evaluated, in pixels; unset: the whole
    image passes at once."""
    evaluation_overlap: Annotated[float, Interval(ge=0, lt=1)] = 0.3333
    """Share of a window that the next one covers too, at least."""
    evaluation_scales: tuple[float, ...] = (1.0,)
    """Images are evaluated enlarged by each of these factors, and the logits averaged."""
    evaluation_flip: bool = False
    """Images are evaluated mirrored, too, and the logits averaged."""
    auxiliary_weight: Annotated[float, Interval(ge=0)] = 0.4
    """Weight of the loss of a network's auxiliary head, if it has one."""


@TASKS.register("segmentation")
@final
class Segmentation:
    """Judged by the mean over classes of their intersection over union."""

    headline = Metric("mean_iou", "%", lower_is_better=False)
    is_dense = True

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self.auxiliary_weight = self.config.auxiliary_weight
        self.passes = Passes(
            window=self.config.evaluation_window,
            overlap=self.config.evaluation_overlap,
            scales=self.config.evaluation_scales,
            flip=self.config.evaluation_flip,
        )

    def rows(self, prediction: Prediction, targets: Tensor | None) -> Rows:
        """The cells: all of them, or those whose nearest pixel has a class."""
        logits, features = map(cells_of, prediction)
        if targets is None:
            return Rows(logits, features, None)
        labels = masks_of_cells(targets, prediction.logits.shape[2:]).flatten()
        known = labels != VOID
        if known.all():
            return Rows(logits, features, labels)
        return Rows(logits[known], features[known], labels[known])

    def judged(
        self, prediction: Prediction, targets: Tensor, augmented: Augmented | None = None
    ) -> Rows:
        """The pixels that have a class, with the logits of the cells around them; no features, unless
        pixels are cells."""
        logits, features = prediction
        added = None
        if augmented:
            labels = masks_of_cells(targets, logits.shape[2:]).flatten()
            labels = torch.where(labels == VOID, NO_CLASS, labels)
            found = augmented(Rows(cells_of(logits), cells_of(features), labels))
            logits = found.logits.view(len(logits), *logits.shape[2:], -1).movedim(-1, 1)
            added = found.added
        known = targets.flatten() != VOID
        pixels = cells_of(enlarged(logits, targets.shape[1:]))[known]
        same = targets.shape[1:] == features.shape[2:]
        of_pixels = cells_of(features)[known] if same else pixels.new_empty(len(pixels), 0)
        if added is not None:  # enlarging is linear, so that the mean over classes can go up alone
            of_cells = added.view(len(logits), 1, *logits.shape[2:])
            added = cells_of(enlarged(of_cells, targets.shape[1:]))[known, 0]
        return Rows(pixels, of_pixels, targets.flatten()[known], added)

    def predicted(self, network: nn.Module, images: Tensor) -> Prediction:
        """Logits at the size of the images, by the passes that the options ask for."""
        return self.passes(network, images)

    def scores(self, confusion: Tensor) -> dict[str, float]:
        """``mean_iou``: over the classes that occur, in a mask or in a prediction;
        ``pixel_accuracy``: the share of the diagonal; both in percent."""
        total = max(1, int(confusion.sum()))
        known = [iou for iou in class_ious(confusion.tolist()) if iou is not None]
        return {
            "mean_iou": sum(known) / max(1, len(known)),
            "pixel_accuracy": 100.0 * int(confusion.trace()) / total,
        }

    def final_scores(
        self, confusion: Tensor, calibration: Calibration, class_names: Sequence[str]
    ) -> dict[str, Any]:
        """``pixel_accuracy`` and ``calibration_error`` over pixels, in percent, and ``class_ious`` by the
        classes' names, None for a class that neither a mask nor a prediction has."""
        return {
            "pixel_accuracy": self.scores(confusion)["pixel_accuracy"],
            "calibration_error": calibration.error(),
            "class_ious": dict(zip(class_names, class_ious(confusion.tolist()), strict=True)),
        }


def cells_of(values: Tensor) -> Tensor:
    """(n, k, h, w) to (n h w, k): one row a cell."""
    return values.movedim(1, -1).flatten(0, 2)


def masks_of_cells(masks: Tensor, size: Sequence[int]) -> Tensor:
    """(n, h, w) masks brought to the cells' height and width: cell k of K has the class of pixel
    k h // K, as ``F.interpolate(..., mode="nearest")`` and the official code have it."""
    if tuple(masks.shape[1:]) == tuple(size):
        return masks
    rows, columns = (
        torch.arange(wanted, device=masks.device) * length // wanted
        for length, wanted in zip(masks.shape[1:], size, strict=True)
    )
    return masks[:, rows[:, None], columns]


def enlarged(logits: Tensor, size: Sequence[int]) -> Tensor:
    """(n, c, h', w') to (n, c, h, w), bilinearly, corners on corners; of this size already, as it is."""
    if tuple(logits.shape[2:]) == tuple(size):
        return logits
    return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=True)
