"""Large-margin softmax (L-Softmax): the angle to the true class's weight must be smaller by a factor m.

Liu et al., Large-Margin Softmax Loss for Convolutional Neural Networks, ICML 2016, arXiv:1612.02295,
Eqs. 4 to 6. With w_j the rows of the head's weight and theta the angle between w_y and the feature a,

    z_j = |w_j| |a| cos(theta_j)                                           for j != y
    z'_y = |w_y| |a| psi(theta),     psi = (-1)^k cos(m theta) - 2k        for theta in [k, k+1] pi / m
    L = 1/n sum_i H(y_i, softmax(..., (lambda z_y + z'_y) / (1 + lambda), ...))

lambda falls over the run: lambda = max(floor, base (1 + rate t)^-power), t from 0 to 1. The authors' nets
for CIFAR-10 have m 2, base 1000, power 45 and rate 2e-5 an iteration for 30,000 iterations, which is 0.6
here. The paper on ISDA states no settings. It does not converge easily without this annealing.

The head has no bias: a run sets it to 0 and leaves it there. The network is tested with plain z = W a.
With ISDA the other logits are those of Prop. 1, and the true one, which Prop. 1 leaves as it is, gets the
margin; the loss is then no bound. With draws of augmented features the margin is that of the image's own
feature.
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
from ssl_isda.base.shapes import Float, Int
from ssl_isda.base.step import Step
from ssl_isda.losses.contract import LOSSES, SupervisedLoss
from ssl_isda.models.contract import Network, linear_map
from ssl_isda.tasks.contract import Rows


@dataclass(frozen=True)
class Config:
    """The authors' settings for CIFAR-10."""

    margin: Annotated[int, Interval(ge=1, le=4)] = 2
    """m: factor on the angle; 1 is cross-entropy without a bias."""
    annealing_base: Annotated[float, Interval(ge=0)] = 1000.0
    """lambda at the first step; 0: the whole margin from the start."""
    annealing_rate: Annotated[float, Interval(ge=0)] = 0.6
    """How fast lambda falls, over the whole run."""
    annealing_power: Annotated[float, Interval(ge=0)] = 45.0
    """Power of its fall."""
    annealing_floor: Annotated[float, Interval(ge=0)] = 0.0
    """The least lambda; 5 to 10 where training would diverge."""


@LOSSES.register("large_margin")
@final
class LargeMargin(SupervisedLoss):
    """Mean over rows."""

    def __init__(
        self, config: Config | None = None, *, num_classes: int = 0, num_features: int = 0
    ) -> None:
        super().__init__()
        self.config = config or Config()

    def forward(self, rows: Rows, head: nn.Linear | nn.Conv2d, step: Step) -> Tensor:
        weight, bias = linear_map(head)
        share = 1 / (1 + self.annealing(step.progress))
        logits = rows.logits - bias
        return large_margin(logits, rows.features, rows.labels, weight, self.config.margin, share)

    def annealing(self, progress: float) -> float:
        """lambda at this share of the run."""
        config = self.config
        falling = (
            config.annealing_base
            * (1 + config.annealing_rate * progress) ** -config.annealing_power
        )
        return float(max(config.annealing_floor, falling))

    def prepared(self, network: Network) -> Network:
        """The same, its head's bias 0 for good."""
        if network.head.bias is not None:
            nn.init.zeros_(network.head.bias).requires_grad_(False)
        return network


@full_precision
def large_margin(
    logits: Float[Tensor, "n c"],
    features: Float[Tensor, "n a"],
    labels: Int[Tensor, " n"],
    weight: Float[Tensor, "c a"],
    margin: int,
    share: float = 1.0,
) -> Float[Tensor, ""]:
    """Cross-entropy of logits without a bias, the true one moved by ``share`` of its way to z'_y."""
    rows = weight[labels]
    lengths = rows.norm(dim=1) * features.norm(dim=1)
    product = (rows * features).sum(1)
    cosine = (product / lengths.clamp(min=torch.finfo(lengths.dtype).eps)).clamp(-1, 1)
    moved = share * lengths * (psi(cosine, margin) - cosine)
    return F.cross_entropy(logits.scatter_add(1, labels[:, None], moved[:, None]), labels)


def psi(cosine: Tensor, margin: int) -> Tensor:
    """psi(theta) from cos(theta): cos(m theta) is a polynomial of it, so that no angle is needed."""
    corners = [math.cos(math.pi * k / margin) for k in range(1, margin)]
    k = torch.stack([cosine.detach() < corner for corner in corners]).sum(0) if corners else 0
    chebyshev = {
        1: cosine,
        2: 2 * cosine**2 - 1,
        3: 4 * cosine**3 - 3 * cosine,
        4: 8 * cosine**4 - 8 * cosine**2 + 1,
    }[margin]
    return (1 - 2 * (k % 2)) * chebyshev - 2 * k
