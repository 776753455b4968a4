"""Residual networks of two branches that are weighed at random, in their form for CIFAR.

Gastaldi, Shake-Shake regularization, ICLR 2017 workshop, arXiv:1705.07485.
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
from ssl_isda.models.shaking import ShakeShake
from ssl_isda.models.stages import blocks_per_stage, stages


@dataclass(frozen=True)
class Config:
    """Depth and width of the name: 26 layers, two branches of 32 or 112 channels."""

    depth: Annotated[int, Interval(ge=1)] | None = None
    """Layers: 6 n + 2; unset: as the network's name says."""
    width: Annotated[float, Interval(gt=0)] = 1.0
    """Factor on the number of channels of the three stages."""
    features: Annotated[int, Interval(ge=1)] | None = None
    """Channels of the last layer, which the head sees; unset: those of the third stage."""


class Block(nn.Module):
    """y = S(x) + shake(F_1(x), F_2(x)), with F = BN(conv(ReLU(BN(conv(ReLU(x)))))), of 3 x 3 pixels.

    S is x, save where the size changes: there it is a ``ShiftedShortcut``.
    """

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch1 = _branch(inputs, middle, outputs, stride)
        self.branch2 = _branch(inputs, middle, outputs, stride)
        self.shake = ShakeShake()
        changes = (inputs, 1) != (outputs, stride)
        self.shortcut = ShiftedShortcut(inputs, outputs, stride) if changes else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride), rounded up."""
        shaken = self.shake(self.branch1(maps), self.branch2(maps))
        total: Tensor = self.shortcut(maps) + shaken
        return total


class ShiftedShortcut(nn.Module):
    """BN([A r, B r']): half the channels are 1 x 1 convolutions of r = ReLU(x), the other half of r' = r
    moved by one pixel up and to the left; of both every ``stride``-th pixel is taken."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, outputs - outputs // 2, 1, stride, fan="fan_in")
        self.conv2 = convolution(inputs, outputs // 2, 1, stride, fan="fan_in")
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride), rounded up."""
        positive = F.relu(maps)
        moved = F.pad(positive, (-1, 1, -1, 1))
        both: Tensor = self.bn(torch.cat([self.conv1(positive), self.conv2(moved)], 1))
        return both


@final
class ShakeShakeNet(Network):
    """6 n + 2 layers: a convolution to 16 channels and BatchNorm, three stages of n blocks (w, 2 w and
    4 w channels, each stage from the second on at half the size), ReLU, global average pooling and a
    linear head.

    For 10 classes and RGB 26 2x32d has 2,923,178 parameters and 26 2x112d 35,640,458. ISDA's paper
    prints 3.0M and 36.4M: its code also builds a shortcut for each block that keeps its size, and never
    uses it. The first convolution has a bias, and initial weights are He's by inputs, as in that code.

    Parameters
    ----------
    depth : 6 n + 2
    width : w
    features : channels of the last block alone; None: 4 w

    Raises
    ------
    ValueError
        No n gives this depth; an image is smaller than 4 pixels.
    """

    source = "Gastaldi, Shake-Shake regularization, ICLR 2017 workshop, arXiv:1705.07485"
    smallest_side = 4

    def __init__(
        self,
        depth: int,
        width: int,
        num_classes: int,
        in_channels: int = 3,
        features: int | None = None,
    ) -> None:
        super().__init__()
        n = blocks_per_stage(depth, 6, 2)
        self.conv, self.bn = nn.Conv2d(in_channels, 16, 3, padding=1), nn.BatchNorm2d(16)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        widths = (width, 2 * width, 4 * width)
        self.stage1, self.stage2, self.stage3 = stages(Block, n, 16, widths, features)
        self.head = nn.Linear(features or 4 * width, num_classes)

    def features(self, images: Tensor) -> Tensor:
        self.refuse_small(images)
        maps: Tensor = self.bn(self.conv(images))
        return pooled(F.relu(self.stage3(self.stage2(self.stage1(maps)))))


@MODELS.register("shake_shake_26_2x32d")
def shake_shake_26_2x32d(
    config: Config, *, num_classes: int, shape: tuple[int, ...]
) -> ShakeShakeNet:
    """26 layers, two branches of 32 channels in the first stage."""
    return _shake_shake(32, config, num_classes, shape)


@MODELS.register("shake_shake_26_2x112d")
def shake_shake_26_2x112d(
    config: Config, *, num_classes: int, shape: tuple[int, ...]
) -> ShakeShakeNet:
    """26 layers, two branches of 112 channels in the first stage."""
    return _shake_shake(112, config, num_classes, shape)


def _shake_shake(
    width: int, config: Config, num_classes: int, shape: tuple[int, ...]
) -> ShakeShakeNet:
    return ShakeShakeNet(
        config.depth or 26, scaled(width, config.width), num_classes, shape[0], config.features
    )


def _branch(inputs: int, middle: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        convolution(inputs, middle, stride=stride, fan="fan_in"),
        nn.BatchNorm2d(middle),
        nn.ReLU(inplace=True),
        convolution(middle, outputs, fan="fan_in"),
        nn.BatchNorm2d(outputs),
    )
