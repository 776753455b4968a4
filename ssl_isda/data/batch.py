"""What one training step gets to see."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One labeled and one unlabeled mini-batch. Labels of unlabeled images are not in it.

    images : (L, channels, height, width), the augmented labeled images
    labels : (L,), int64, their classes
    views : for each augmented view that the method asks for, (U, channels, height, width);
        view k of image i stands at ``views[k][i]``
    indices : (U,), int64, the position of each unlabeled image in the training set
    labeled_views : further views of the labeled images, for each that the method asks for, shaped as
        ``images``
    targets : what each view should be, (U, c) probabilities, where the method mixes them; else empty
    """

    images: Tensor
    labels: Tensor
    views: tuple[Tensor, ...]
    indices: Tensor
    labeled_views: tuple[Tensor, ...] = ()
    targets: tuple[Tensor, ...] = ()
