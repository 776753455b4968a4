"""Cross-entropy with smoothed labels.

Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016,
arXiv:1512.00567, Sec. 7.

    L = 1/n sum_i H(q_i, softmax(z_i)),     q_i[j] = (1 - s) [j = y_i] + s / C

As the paper on ISDA describes it the other classes alone share s: q_i[j] = s / (C - 1) for j != y_i. That
is ``--smoothing-over others``. The two are the same where the first has C / (C - 1) times the s of the
second. It does not state s; 0.1 is that of Szegedy et al. With ISDA the logits are those of Prop. 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, final

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
    """s: the share of the label that is spread."""
    smoothing_over: Literal["all", "others"] = "all"
    """Over all classes, or over all but the true one."""


@LOSSES.register("label_smoothing")
@final
class LabelSmoothing(SupervisedLoss):
    """Mean over rows; with ``smoothing`` 0 plain cross-entropy."""

    def __init__(
        self, config: Config | None = None, *, num_classes: int = 0, num_features: int = 0
    ) -> None:
        super().__init__()
        config = config or Config()
        self.smoothing, self.over = config.smoothing, config.smoothing_over

    def forward(self, rows: Rows, head: nn.Linear | nn.Conv2d, step: Step) -> Tensor:
        share, num_classes = self.smoothing, rows.logits.shape[1]
        if self.over == "others":
            share = share * num_classes / (num_classes - 1)
        return F.cross_entropy(rows.logits, rows.labels, label_smoothing=share)
