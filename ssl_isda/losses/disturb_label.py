"""DisturbLabel: cross-entropy with labels of which some are drawn anew at each step.

Xie et al., DisturbLabel: Regularizing CNN on the Loss Layer, CVPR 2016, arXiv:1605.00055:

    L = 1/n sum_i H(y~_i, softmax(z_i))

where y~_i is a class drawn uniformly with probability alpha, and y_i else. The drawn class may be the
true one. Each row has a draw of its own at each step. The mean over the draws
is label smoothing by alpha. The paper on ISDA has alpha 0.05, and 0.1 for ResNet-110 on CIFAR-100
(Appendix C); the authors' tables have 0.1.

With ISDA the logits are those of Prop. 1 with the true class, whose covariance the image's features have;
where the label is disturbed the loss is no bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.base.step import Step
from ssl_isda.losses.contract import LOSSES, SupervisedLoss
from ssl_isda.parallel.distributed import place_of_rows
from ssl_isda.tasks.contract import Rows


@dataclass(frozen=True)
class Config:
    """The setting of the paper on ISDA for most networks."""

    disturbed_share: Annotated[float, Interval(ge=0, le=1)] = 0.05
    """alpha: the probability that a label is drawn anew."""


@LOSSES.register("disturb_label")
@final
class DisturbLabel(SupervisedLoss):
    """Mean over rows."""

    def __init__(
        self, config: Config | None = None, *, num_classes: int, num_features: int = 0
    ) -> None:
        super().__init__()
        self.share = (config or Config()).disturbed_share
        self.num_classes = num_classes

    def forward(self, rows: Rows, head: nn.Linear | nn.Conv2d, step: Step) -> Tensor:
        return F.cross_entropy(rows.logits, self.disturbed(rows.labels, step))

    def disturbed(self, labels: Tensor, step: Step) -> Tensor:
        """(n,): the labels of this step."""
        generator = step.generator("disturbed labels", labels.device)
        first, everyone = place_of_rows(len(labels))
        own = slice(first, first + len(labels))
        coins = torch.rand(everyone, generator=generator, device=labels.device)
        drawn = torch.randint(
            self.num_classes, (everyone,), generator=generator, device=labels.device
        )
        return drawn[own].where(coins[own] < self.share, labels)
