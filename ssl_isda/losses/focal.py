"""Focal loss: rows that are classified well already count less.

Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv:1708.02002, Eq. 5, with the softmax
of c classes in place of the sigmoid of two:

    L = 1/n sum_i -alpha (1 - p_i)^gamma log p_i,     p_i = softmax(z_i)[y_i]

The paper on ISDA has alpha 0.5 and gamma 1 (Appendix C), the defaults here; the authors have 0.25 and
2 for detection. A constant alpha scales the gradient, so that weight decay acts 1 / alpha as hard. With
ISDA the logits are those of Prop. 1: the loss is focal in the probability of the bound, and no bound
itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.base.precision import full_precision
from ssl_isda.base.shapes import Float, Int
from ssl_isda.base.step import Step
from ssl_isda.losses.contract import LOSSES, SupervisedLoss
from ssl_isda.losses.true_class import log_probability
from ssl_isda.tasks.contract import Rows


@dataclass(frozen=True)
class Config:
    """The settings of the paper on ISDA."""

    focal_alpha: Annotated[float, Interval(gt=0)] = 0.5
    """alpha: factor on the loss."""
    focal_gamma: Annotated[float, Interval(ge=0)] = 1.0
    """gamma: power of the probability that is missing; 0 is cross-entropy."""


@LOSSES.register("focal")
@final
class Focal(SupervisedLoss):
    """Mean over rows; with gamma 0 it is alpha times the cross-entropy."""

    def __init__(
        self, config: Config | None = None, *, num_classes: int = 0, num_features: int = 0
    ) -> None:
        super().__init__()
        self.config = config or Config()

    def forward(self, rows: Rows, head: nn.Linear | nn.Conv2d, step: Step) -> Tensor:
        config = self.config
        return focal(rows.logits, rows.labels, config.focal_alpha, config.focal_gamma)


@full_precision
def focal(
    logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"], alpha: float, gamma: float
) -> Float[Tensor, ""]:
    """The equation above. Its gradient is finite for every probability."""
    log_p = log_probability(logits, labels)
    missing = (-log_p.expm1()).clamp(min=torch.finfo(log_p.dtype).tiny)
    return (alpha * missing**gamma * -log_p).mean()
