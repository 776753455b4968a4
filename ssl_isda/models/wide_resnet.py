"""Wide residual networks.

Zagoruyko & Komodakis, Wide Residual Networks, BMVC 2016, arXiv:1605.07146.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, final

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.models.contract import MODELS, Network
from ssl_isda.models.convolution import convolution, pooled, scaled
from ssl_isda.models.stages import blocks_per_stage, stages


@dataclass(frozen=True)
class Config:
    """Depth d and widening factor k of the name, WRN-d-k."""

    depth: Annotated[int, Interval(ge=1)] | None = None
    """d, layers: 6 n + 4; unset: as the network's name says."""
    width: Annotated[float, Interval(gt=0)] = 1.0
    """Factor on the number of channels of the three stages, which are 16 k, 32 k and 64 k."""
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Probability of dropout between the convolutions of a block; 0.3 in ISDA's figures of WRN-28-10."""
    features: Annotated[int, Interval(ge=1)] | None = None
    """Channels of the last layer, which the head sees; unset: those of the third stage."""


class Block(nn.Module):
    """y = S + F(a), with a = ReLU(BN(x)) and F = conv(dropout(ReLU(BN(conv(a))))), of 3 x 3 pixels.

    S is x, save where the size changes: there it is a 1 x 1 convolution of a.
    """

    def __init__(
        self, inputs: int, middle: int, outputs: int, stride: int, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), convolution(inputs, middle, stride=stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(middle), convolution(middle, outputs)
        self.dropout = nn.Dropout(dropout)
        changes = (inputs, 1) != (outputs, stride)
        self.shortcut = convolution(inputs, outputs, 1, stride) if changes else None

    def forward(self, maps: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride), rounded up."""
        active = F.relu(self.bn1(maps))
        residual = self.dropout(F.relu(self.bn2(self.conv1(active))))
        shortcut = maps if self.shortcut is None else self.shortcut(active)
        total: Tensor = shortcut + self.conv2(residual)
        return total


@final
class WideResNet(Network):
    """6 n + 4 layers: a convolution to 16 channels, three stages of n blocks (16 k, 32 k and 64 k
    channels, each stage from the second on at half the size), BatchNorm, ReLU, global average pooling
    and a linear head.

    For 10 classes and RGB WRN-16-8 has 10,961,370 parameters and WRN-28-10 36,479,194.

    Parameters
    ----------
    depth : 6 n + 4
    widening : k
    features : channels of the last convolution alone; None: 64 k
    dropout : probability, between the convolutions of each block

    Raises
    ------
    ValueError
        No n gives this depth; an image is smaller than 4 pixels.
    """

    source = "Zagoruyko & Komodakis, Wide Residual Networks, BMVC 2016, arXiv:1605.07146"
    smallest_side = 4

    def __init__(
        self,
        depth: int,
        widening: float,
        num_classes: int,
        in_channels: int = 3,
        features: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        n = blocks_per_stage(depth, 6, 4)
        widths = [scaled(channels, widening) for channels in (16, 32, 64)]
        last = features or widths[-1]
        self.conv = convolution(in_channels, 16)
        block = partial(Block, dropout=dropout)
        self.stage1, self.stage2, self.stage3 = stages(block, n, 16, widths, features)
        self.bn = nn.BatchNorm2d(last)
        self.head = nn.Linear(last, num_classes)

    def features(self, images: Tensor) -> Tensor:
        self.refuse_small(images)
        maps: Tensor = self.stage3(self.stage2(self.stage1(self.conv(images))))
        return pooled(F.relu(self.bn(maps)))


@MODELS.register("wrn_16_8")
def wrn_16_8(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> WideResNet:
    """16 layers, 8 times as wide as ResNet."""
    return _wide_resnet(16, 8, config, num_classes, shape)


@MODELS.register("wrn_28_10")
def wrn_28_10(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> WideResNet:
    """28 layers, 10 times as wide as ResNet."""
    return _wide_resnet(28, 10, config, num_classes, shape)


def _wide_resnet(
    depth: int, widening: int, config: Config, num_classes: int, shape: tuple[int, ...]
) -> WideResNet:
    return WideResNet(
        config.depth or depth,
        config.width * widening,
        num_classes,
        shape[0],
        config.features,
        config.dropout,
    )
