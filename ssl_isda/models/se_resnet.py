"""Residual networks whose blocks weigh their channels.

Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, arXiv:1709.01507, in the form for CIFAR.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.models.contract import MODELS
from ssl_isda.models.resnet import ResNet


@dataclass(frozen=True)
class Config:
    """The widths of the paper."""

    depth: Annotated[int, Interval(ge=1)] | None = None
    """Layers of the residual network: 6 n + 2; unset: as the network's name says."""
    width: Annotated[float, Interval(gt=0)] = 1.0
    """Factor on the number of the network's channels, which are 16, 32 and 64."""
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Probability of dropout between the convolutions of a block."""
    reduction: Annotated[int, Interval(ge=1)] = 16
    """r: channels for each hidden unit of what weighs them."""
    features: Annotated[int, Interval(ge=1)] | None = None
    """Channels of the last layer, which the head sees; unset: 64 times the width."""


@final
class SqueezeExcitation(nn.Module):
    """y_c = s_c x_c, with s = sigmoid(W_2 ReLU(W_1 z)) and z_c the mean of channel c (Eqs. 2 to 4).

    Parameters
    ----------
    reduction : W_1 has channels / reduction rows, at least one; neither map has a bias
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.excite = nn.Linear(hidden, channels, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, channels, h, w) to the same shape."""
        weights = torch.sigmoid(self.excite(F.relu(self.squeeze(maps.mean((2, 3))))))
        return maps * weights[:, :, None, None]


@final
class SEResNet(ResNet):
    """``ResNet`` with ``SqueezeExcitation`` after the second BatchNorm of each block.

    With 110 layers 1,742,810 parameters for 10 classes and 1,748,660 for 100.
    """

    source = "Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, arXiv:1709.01507"

    def __init__(
        self,
        depth: int,
        num_classes: int,
        in_channels: int = 3,
        *,
        reduction: int = 16,
        **rest: Any,
    ) -> None:
        gate = partial(SqueezeExcitation, reduction=reduction)
        super().__init__(depth, num_classes, in_channels, gate=gate, **rest)


@MODELS.register("se_resnet110")
def se_resnet110(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> SEResNet:
    """110 layers."""
    return SEResNet(
        config.depth or 110,
        num_classes,
        shape[0],
        reduction=config.reduction,
        features=config.features,
        width=config.width,
        dropout=config.dropout,
    )
