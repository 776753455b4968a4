"""Center loss: cross-entropy, and features are drawn to the centre of their class.

Wen et al., A Discriminative Feature Learning Approach for Deep Face Recognition, ECCV 2016, Eq. 5:

    L = 1/n sum_i H(y_i, softmax(z_i)) + (lambda / 2) 1/n sum_i |a_i - c_{y_i}|^2

The centres c are trained beside the network at a rate of their own, without weight decay, by the gradient
of 1/n sum_i |a_i - c_{y_i}|^2, which lambda does not scale. The paper on ISDA has 0.5 as the centres'
initial learning rate (Appendix C), 5 times the 0.1 of its networks. These are words of the port
KaiyangZhou/pytorch-center-loss, whose gradient and whose N(0, 1) start the centres have here. It does not
state lambda; 0.003 is that of Wen et al. They move a centre to c_j - 0.5 sum (c_j - a_i) / (1 + n_j),
without momentum.

With ISDA the first term is that of Prop. 1, and the second is of the features as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.base.precision import full_precision
from ssl_isda.base.shapes import Float
from ssl_isda.base.step import Step
from ssl_isda.losses.contract import LOSSES, SupervisedLoss
from ssl_isda.optim.contract import Group
from ssl_isda.tasks.contract import Rows


@dataclass(frozen=True)
class Config:
    """lambda of Wen et al., the centres' rate of the paper on ISDA."""

    center_weight: Annotated[float, Interval(ge=0)] = 0.003
    """lambda: weight of the squared distances to the centres."""
    center_rate: Annotated[float, Interval(ge=0)] = 5.0
    """The centres' learning rate as a multiple of the run's: 0.5 beside 0.1."""


@LOSSES.register("center")
@final
class Center(SupervisedLoss):
    """Means over rows."""

    def __init__(
        self, config: Config | None = None, *, num_classes: int, num_features: int
    ) -> None:
        super().__init__()
        self.config = config or Config()
        self.centres = nn.Parameter(torch.randn(num_classes, num_features))

    def forward(self, rows: Rows, head: nn.Linear | nn.Conv2d, step: Step) -> Tensor:
        distance = squared_distance(
            rows.features, self.centres[rows.labels], self.config.center_weight
        )
        return F.cross_entropy(rows.logits, rows.labels) + distance

    def groups(self) -> list[Group]:
        """The centres."""
        return [Group([self.centres], self.config.center_rate, weight_decay=0.0)]


@full_precision
def squared_distance(
    features: Float[Tensor, "n a"], centres: Float[Tensor, "n a"], weight: float
) -> Float[Tensor, ""]:
    """(weight / 2) mean over rows of |a - c|^2; its gradient by the centres is that of the plain mean."""
    of_features = (features - centres.detach()).square().sum(1).mean()
    of_centres = (features.detach() - centres).square().sum(1).mean()
    return weight / 2 * of_features + (of_centres - of_centres.detach())
