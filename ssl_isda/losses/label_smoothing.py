"""Cross-entropy with smoothed labels.

Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016,
arXiv:1512.00567, Sec. 7.

    L = 1/n sum_i H(q_i, softmax(z_i)),     q_i[j] = (1 - s) [j = y_i] + s / C
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.base.step import Step
from ssl_isda.losses.contract import LOSSES, SupervisedLoss
from ssl_isda.tasks.contract import Rows


@dataclass(frozen=True)
class Config:
    """The paper's setting for ImageNet."""

    smoothing: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    """s: the share of the label that is spread over all classes."""


@LOSSES.register("label_smoothing")
@final
class LabelSmoothing(SupervisedLoss):
    """Mean over rows; with ``smoothing`` 0 plain cross-entropy."""

    def __init__(self, config: Config, *, num_classes: int, num_features: int) -> None:
        super().__init__()
        self.smoothing = config.smoothing

    def forward(self, rows: Rows, head: nn.Linear | nn.Conv2d, step: Step) -> Tensor:
        return F.cross_entropy(rows.logits, rows.labels, label_smoothing=self.smoothing)
