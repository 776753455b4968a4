"""L_q, the generalized cross-entropy: between cross-entropy and the mean absolute error.

Zhang & Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels,
NeurIPS 2018, arXiv:1805.07836, Eq. 6:

    L = 1/n sum_i (1 - p_i^q) / q,     p_i = softmax(z_i)[y_i]

Its gradient is p^q times that of cross-entropy: q to 0 is cross-entropy, q = 1 is 1 - p. The paper on
ISDA has q 0.4, not truncated (Appendix C), the default here; the authors have 0.7. With ISDA the logits
are those of Prop. 1, of whose loss this is an increasing function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

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
    """The setting of the paper on ISDA."""

    lq_power: Annotated[float, Interval(gt=0, le=1)] = 0.4
    """q: power of the true class's probability."""


@LOSSES.register("lq")
@final
class Lq(SupervisedLoss):
    """Mean over rows."""

    def __init__(
        self, config: Config | None = None, *, num_classes: int = 0, num_features: int = 0
    ) -> None:
        super().__init__()
        self.power = (config or Config()).lq_power

    def forward(self, rows: Rows, head: nn.Linear | nn.Conv2d, step: Step) -> Tensor:
        return lq(rows.logits, rows.labels, self.power)


@full_precision
def lq(logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"], power: float) -> Float[Tensor, ""]:
    """The equation above."""
    return -(power * log_probability(logits, labels)).expm1().mean() / power
