"""Densely connected networks with bottlenecks and compression, DenseNet-BC, in their form for CIFAR.

Huang et al., Densely Connected Convolutional Networks, CVPR 2017, arXiv:1608.06993.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.models.contract import MODELS, Network
from ssl_isda.models.convolution import convolution, pooled, scaled
from ssl_isda.models.stages import blocks_per_stage


@dataclass(frozen=True)
class Config:
    """Depth L and growth rate k of the name, DenseNet-BC-L-k."""

    depth: Annotated[int, Interval(ge=1)] | None = None
    """L, layers: 6 n + 4; unset: as the network's name says."""
    width: Annotated[float, Interval(gt=0)] = 1.0
    """Factor on k, the channels that each layer adds."""
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Probability of dropout after the second convolution of a layer."""


class Layer(nn.Module):
    """y = [x, F(x)]: k new channels behind those that come in (Eq. 2).

    F is BatchNorm, ReLU, a 1 x 1 convolution to 4 k channels, BatchNorm, ReLU and a 3 x 3 convolution.
    """

    def __init__(self, inputs: int, growth: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), convolution(inputs, 4 * growth, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(4 * growth), convolution(4 * growth, growth)
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, inputs + growth, h, w)."""
        new = self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(maps))))))
        return torch.cat([maps, self.dropout(new)], 1)


class Transition(nn.Module):
    """BatchNorm, ReLU, a 1 x 1 convolution to half the channels, and means of 2 x 2 pixels."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(inputs), convolution(inputs, inputs // 2, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, inputs / 2, h / 2, w / 2), rounded down."""
        return F.avg_pool2d(self.conv(F.relu(self.bn(maps))), 2)


@final
class DenseNet(Network):
    """6 n + 4 layers: a convolution to 2 k channels, three blocks of n dense layers with a transition
    between them, BatchNorm, ReLU, global average pooling and a linear head.

    For 10 classes and RGB DenseNet-BC-100-12 has 769,162 parameters and DenseNet-BC-190-40 25,624,430.

    Parameters
    ----------
    depth : 6 n + 4
    growth : k
    dropout : probability, after the second convolution of each layer

    Raises
    ------
    ValueError
        No n gives this depth; an image is smaller than 4 pixels.
    """

    source = "Huang et al., Densely Connected Convolutional Networks, CVPR 2017, arXiv:1608.06993"
    smallest_side = 4

    def __init__(
        self,
        depth: int,
        growth: int,
        num_classes: int,
        in_channels: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        n, channels = blocks_per_stage(depth, 6, 4), 2 * growth
        self.body = nn.Sequential(convolution(in_channels, channels))
        for block in range(3):
            if block:
                self.body.append(Transition(channels))
                channels //= 2
            self.body.extend(Layer(channels + k * growth, growth, dropout) for k in range(n))
            channels += n * growth
        self.bn = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, num_classes)

    def features(self, images: Tensor) -> Tensor:
        self.refuse_small(images)
        return pooled(F.relu(self.bn(self.body(images))))

    def stages(self) -> list[list[nn.Parameter]]:
        """The three dense blocks, each with the transition behind it, and the head with its BatchNorm."""
        stages: list[list[nn.Parameter]] = [[]]
        for layer in self.body:
            stages[-1] += layer.parameters()
            stages += [[]] if isinstance(layer, Transition) else []
        return [*stages, [*self.bn.parameters(), *self.head.parameters()]]


@MODELS.register("densenet_bc_100_12")
def densenet_bc_100_12(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> DenseNet:
    """100 layers, each of which adds 12 channels."""
    return _densenet(100, 12, config, num_classes, shape)


@MODELS.register("densenet_bc_190_40")
def densenet_bc_190_40(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> DenseNet:
    """190 layers, each of which adds 40 channels."""
    return _densenet(190, 40, config, num_classes, shape)


def _densenet(
    depth: int, growth: int, config: Config, num_classes: int, shape: tuple[int, ...]
) -> DenseNet:
    return DenseNet(
        config.depth or depth,
        scaled(growth, config.width),
        num_classes,
        shape[0],
        config.dropout,
    )
