"""Supervised training: labeled images alone, the baseline of every comparison.

    L_reg = 0

With ISDA the cross-entropy becomes its Prop. 1 bound. No unlabeled image is loaded, so there is no
Prop. 2 term either.

What BatchNorm sees: the labeled images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from ssl_isda.base.step import Step
from ssl_isda.data.batch import Batch
from ssl_isda.training.method import METHODS, Regularizer


@dataclass(frozen=True)
class Config:
    """No options."""


@METHODS.register("supervised")
@final
class Supervised(Regularizer):
    """A term that is zero and wants no views."""

    num_views = 0
    joins_streams = False

    def __init__(
        self, config: Config, *, student: nn.Module, num_images: int, num_classes: int
    ) -> None:
        super().__init__()

    def weight(self, step: Step) -> float:
        return 0.0

    def forward(self, student: nn.Module, batch: Batch, logits: Tensor, step: Step) -> Tensor:
        return logits.new_zeros(())
