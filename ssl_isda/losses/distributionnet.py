"""DistributionNet: each image is a Gaussian in feature space, and a draw of it is classified, too.

Yu et al., Robust Person Re-Identification by Modelling Feature Uncertainty, ICCV 2019. With the features
a as means and sigma = softplus(V a + v) as standard deviations, a~ = a + sigma eps, eps ~ N(0, I):

    L = 1/n sum_i H(y_i, softmax(z_i)) + w 1/n sum_i H(y_i, softmax(W a~_i + b)) + g L_fu
    L_fu = max(0, log s - 1/(n A) sum_i sum_k log sigma_ik)

L_fu keeps the entropy of the batch, H_i = sum_k log sigma_ik + A (1 + log 2 pi) / 2, above that of
standard deviations s, so that images whose labels fit badly get the larger ones. w 0.1, g 0.001, s 5 and
one draw are those of the authors' code, TianyuanYu/DistributionNet. The paper on ISDA states no settings.

It differs from that code: sigma is a linear map of the pooled features, so that any network will do, not
of the last feature map; labels are not smoothed; and everything is trained at once, from the start. The
network is tested with the means alone. With ISDA the first term is that of Prop. 1; the others stay as
they are.
"""

from __future__ import annotations

import math
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
from ssl_isda.models.contract import linear_map
from ssl_isda.optim.contract import Group
from ssl_isda.parallel.distributed import num_processes, part, total, whole
from ssl_isda.tasks.contract import Rows


@dataclass(frozen=True)
class Config:
    """The settings of the authors' code."""

    draw_weight: Annotated[float, Interval(ge=0)] = 0.1
    """w: weight of the cross-entropy of drawn features."""
    spread_weight: Annotated[float, Interval(ge=0)] = 0.001
    """g: weight of the term that keeps the standard deviations large."""
    spread: Annotated[float, Interval(gt=0)] = 5.0
    """s: the standard deviation, in features, that the geometric mean is kept above."""


@LOSSES.register("distributionnet")
@final
class DistributionNet(SupervisedLoss):
    """Means over rows. V and v, v from 0 on, are trained as the network is."""

    def __init__(
        self, config: Config | None = None, *, num_classes: int = 0, num_features: int
    ) -> None:
        super().__init__()
        self.config = config or Config()
        self.deviation = nn.Linear(num_features, num_features)
        nn.init.zeros_(self.deviation.bias)

    def forward(self, rows: Rows, head: nn.Linear | nn.Conv2d, step: Step) -> Tensor:
        config = self.config
        sigma = deviations(rows.features, self.deviation.weight, self.deviation.bias)
        drawn = logits_of(rows.features + sigma * self.noise(sigma, step), *linear_map(head))
        loss = F.cross_entropy(rows.logits, rows.labels)
        loss = loss + config.draw_weight * F.cross_entropy(drawn, rows.labels)
        return loss + config.spread_weight * self.lack_of_spread(sigma)

    def noise(self, like: Tensor, step: Step) -> Tensor:
        """eps of this step, (n, a)."""
        generator = step.generator("features of a distribution", like.device)
        shape = whole(like.shape)
        return part(torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device))

    def lack_of_spread(self, sigma: Float[Tensor, "n a"]) -> Float[Tensor, ""]:
        """L_fu, of the whole batch."""
        lack = math.log(self.config.spread) - sigma.log().mean()
        return lack * (total(lack.detach()) / num_processes() > 0)

    def groups(self) -> list[Group]:
        """The map to the standard deviations."""
        return [Group(list(self.deviation.parameters()))]


@full_precision
def deviations(
    features: Float[Tensor, "n a"], weight: Float[Tensor, "a a"], bias: Float[Tensor, " a"]
) -> Float[Tensor, "n a"]:
    """sigma, at least the least positive number."""
    sigma = F.softplus(F.linear(features, weight, bias))
    return sigma.clamp(min=torch.finfo(sigma.dtype).tiny)


@full_precision
def logits_of(
    features: Float[Tensor, "n a"], weight: Float[Tensor, "c a"], bias: Float[Tensor, " c"]
) -> Float[Tensor, "n c"]:
    """Outside autocast, as the head's own logits are."""
    return F.linear(features, weight, bias)
