"""Residual networks of grouped convolutions, in their form for CIFAR.

Xie et al., Aggregated Residual Transformations for Deep Neural Networks, CVPR 2017, arXiv:1611.05431.
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
    """Cardinality and widths of the paper."""

    depth: Annotated[int, Interval(ge=1)] | None = None
    """Layers: 9 n + 2; unset: as the network's name says."""
    width: Annotated[float, Interval(gt=0)] = 1.0
    """Factor on the number of channels: 64 in each group of the first stage, 256 between its blocks."""
    cardinality: Annotated[int, Interval(ge=1)] | None = None
    """Groups of each 3 x 3 convolution; unset: as the network's name says."""
    features: Annotated[int, Interval(ge=1)] | None = None
    """Channels of the last layer, which the head sees; unset: 1024 times the width."""


class Block(nn.Module):
    """y = ReLU(S(x) + F(x)), with F convolutions of 1 x 1, 3 x 3 in groups and 1 x 1 pixels, each
    followed by BatchNorm (the paper's Fig. 3c).

    A group has a quarter of the stage's channels, ``width``. S is x, save where the size changes: there
    it is a 1 x 1 convolution and BatchNorm.
    """

    def __init__(
        self, inputs: int, width: int, outputs: int, stride: int, *, cardinality: int
    ) -> None:
        super().__init__()
        middle = cardinality * scaled(width, 1 / 4)
        self.conv1, self.bn1 = convolution(inputs, middle, 1), nn.BatchNorm2d(middle)
        self.conv2 = convolution(middle, middle, 3, stride, groups=cardinality)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3, self.bn3 = convolution(middle, outputs, 1), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if (inputs, 1) != (outputs, stride):
            self.shortcut.append(convolution(inputs, outputs, 1, stride))
            self.shortcut.append(nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride), rounded up."""
        residual = F.relu(self.bn1(self.conv1(maps)))
        residual = F.relu(self.bn2(self.conv2(residual)))
        return F.relu(self.shortcut(maps) + self.bn3(self.conv3(residual)))


@final
class ResNeXt(Network):
    """9 n + 2 layers: a convolution, three stages of n blocks (256, 512 and 1024 channels between them,
    each stage from the second on at half the size), global average pooling and a linear head.

    ResNeXt-29, 8x64d has 34,426,698 parameters for 10 classes and 34,518,948 for 100.

    Parameters
    ----------
    depth : 9 n + 2
    cardinality : groups of each 3 x 3 convolution, of 64, 128 and 256 channels in the three stages
    width : factor on all channels
    features : channels of the last convolution alone; None: as ``width`` says

    Raises
    ------
    ValueError
        No n gives this depth; an image is smaller than 4 pixels.
    """

    source = "Xie et al., Aggregated Residual Transformations, CVPR 2017, arXiv:1611.05431"
    smallest_side = 4

    def __init__(
        self,
        depth: int,
        cardinality: int,
        num_classes: int,
        in_channels: int = 3,
        features: int | None = None,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        n = blocks_per_stage(depth, 9, 2)
        first, *widths = (scaled(channels, width) for channels in (64, 256, 512, 1024))
        self.conv, self.bn = convolution(in_channels, first), nn.BatchNorm2d(first)
        block = partial(Block, cardinality=cardinality)
        self.stage1, self.stage2, self.stage3 = stages(block, n, first, widths, features)
        self.head = nn.Linear(features or widths[-1], num_classes)

    def features(self, images: Tensor) -> Tensor:
        self.refuse_small(images)
        maps: Tensor = F.relu(self.bn(self.conv(images)))
        return pooled(self.stage3(self.stage2(self.stage1(maps))))


@MODELS.register("resnext29_8x64d")
def resnext29_8x64d(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> ResNeXt:
    """29 layers, 8 groups of 64 channels in the first stage."""
    return ResNeXt(
        config.depth or 29,
        config.cardinality or 8,
        num_classes,
        shape[0],
        config.features,
        config.width,
    )
