"""Mixup of inputs: a little of another row of the batch, Zhang, Cisse, Dauphin, Lopez-Paz, mixup: Beyond
Empirical Risk Minimization, ICLR 2018, arXiv:1710.09412, Eq. 1.

    z_i <- (1 - s) z_i + s z_j,    s ~ U(0, S),  j any row of the batch

Differs from the paper: a view keeps the label of its row, so the other's share s stays below a half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from ssl_isda.base.options import Interval
from ssl_isda.base.step import Step
from ssl_isda.data.source import send
from ssl_isda.data.vectors.augmentation import VectorAugmentation
from ssl_isda.data.vectors.prepared import PreparedVectors
from ssl_isda.data.views import AUGMENTATIONS
from ssl_isda.parallel.distributed import part


@dataclass(frozen=True)
class Config:
    """Options of ``vector_mixup``."""

    mixed_share: Annotated[float, Interval(ge=0, le=0.5)] = 0.3
    """S: largest share of the other row."""


@dataclass(frozen=True)
class VectorMixup(VectorAugmentation):
    """Each row with a share of up to ``share`` of another one that is drawn from the batch."""

    share: float

    def rows(self, prepared: PreparedVectors, indices: Tensor, step: Step, purpose: str) -> Tensor:
        generator, n = step.generator(f"{purpose} augmentation"), len(indices)
        others = indices[torch.randint(max(1, n), (n,), generator=generator)]
        shares = self.share * torch.rand(n, 1, generator=generator)
        own = prepared.rows(part(indices))
        return own.lerp_(prepared.rows(part(others)), send(part(shares), own.device))


@AUGMENTATIONS.register("vector_mixup")
def vector_mixup(config: Config, *, flip: bool, max_translation: int) -> VectorMixup:
    """The augmentation; flips and translations are for images."""
    return VectorMixup(config.mixed_share)
