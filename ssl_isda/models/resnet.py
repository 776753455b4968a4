"""Residual networks in their form for CIFAR.

He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385, Sec. 4.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.models.contract import MODELS, Network
from ssl_isda.models.convolution import convolution, pooled, scaled
from ssl_isda.models.stages import blocks_per_stage, stages

Shortcut = Literal["convolution", "zeros"]


@dataclass(frozen=True)
class Config:
    """The widths of the paper, with the shortcuts of ISDA's code."""

    depth: Annotated[int, Interval(ge=1)] | None = None
    """Layers: 6 n + 2; unset: as the network's name says."""
    width: Annotated[float, Interval(gt=0)] = 1.0
    """Factor on the number of the network's channels, which are 16, 32 and 64."""
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Probability of dropout between the convolutions of a block."""
    shortcut: Literal["convolution", "zeros"] = "convolution"
    """Where a block changes the size. convolution: of 1 x 1 pixels, the paper's option B, as ISDA's
    tables have it. zeros: no parameters, option A, as the paper's own table has it."""
    features: Annotated[int, Interval(ge=1)] | None = None
    """Channels of the last layer, which the head sees; unset: 64 times the width."""


class Block(nn.Module):
    """y = ReLU(S(x) + G(F(x))), with F two 3 x 3 convolutions, each followed by BatchNorm.

    S is x, save where the size changes: there it is a 1 x 1 convolution and BatchNorm, or without
    parameters (the paper's options B and A). G is F's own value, unless ``gate`` makes a module that
    weighs its channels.
    """

    def __init__(
        self,
        inputs: int,
        middle: int,
        outputs: int,
        stride: int,
        *,
        shortcut: Shortcut = "convolution",
        dropout: float = 0.0,
        gate: Callable[[int], nn.Module] = nn.Identity,
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = convolution(inputs, middle, stride=stride), nn.BatchNorm2d(middle)
        self.conv2, self.bn2 = convolution(middle, outputs), nn.BatchNorm2d(outputs)
        self.dropout, self.gate = nn.Dropout(dropout), gate(outputs)
        self.shortcut = _shortcut(shortcut, inputs, outputs, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride), rounded up."""
        residual = self.dropout(F.relu(self.bn1(self.conv1(maps))))
        residual = self.gate(self.bn2(self.conv2(residual)))
        return F.relu(self.shortcut(maps) + residual)


class PaddedShortcut(nn.Module):
    """Every ``stride``-th pixel, with zeros for the channels that are new."""

    def __init__(self, stride: int, new_channels: int) -> None:
        super().__init__()
        self.stride, self.new_channels = stride, new_channels

    def forward(self, maps: Tensor) -> Tensor:
        chosen = maps[:, :, :: self.stride, :: self.stride]
        return F.pad(chosen, (0, 0, 0, 0, 0, self.new_channels))


class ResNet(Network):
    """6 n + 2 layers: a convolution, three stages of n blocks (16, 32 and 64 channels, each stage
    from the second on at half the size), global average pooling and a linear head.

    He-normal initialisation by outputs, no bias before BatchNorm. For 10 classes and RGB: 272,474
    parameters with 20 layers, 466,906 with 32 and 1,730,714 with 110; with the shortcut "zeros"
    269,722, 464,154 and 1,727,962 (He et al. count 0.27 M, 0.46 M and 1.7 M).

    Parameters
    ----------
    depth : 6 n + 2
    features : channels of the last convolution alone; None: as ``width`` says
    width : factor on all channels
    dropout : probability, between the convolutions of each block
    gate : makes of a block's number of channels what weighs them; by default nothing does

    Raises
    ------
    ValueError
        No n gives this depth; an image is smaller than 4 pixels.
    """

    source = "He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385"
    smallest_side = 4

    def __init__(
        self,
        depth: int,
        num_classes: int,
        in_channels: int = 3,
        features: int | None = None,
        *,
        width: float = 1.0,
        dropout: float = 0.0,
        shortcut: Shortcut = "convolution",
        gate: Callable[[int], nn.Module] = nn.Identity,
    ) -> None:
        super().__init__()
        n = blocks_per_stage(depth, 6, 2)
        widths = [scaled(channels, width) for channels in (16, 32, 64)]
        block = partial(Block, shortcut=shortcut, dropout=dropout, gate=gate)
        self.conv, self.bn = convolution(in_channels, widths[0]), nn.BatchNorm2d(widths[0])
        self.stage1, self.stage2, self.stage3 = stages(block, n, widths[0], widths, features)
        self.head = nn.Linear(features or widths[-1], num_classes)

    def features(self, images: Tensor) -> Tensor:
        self.refuse_small(images)
        maps: Tensor = F.relu(self.bn(self.conv(images)))
        return pooled(self.stage3(self.stage2(self.stage1(maps))))


@MODELS.register("resnet20")
def resnet20(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> ResNet:
    """20 layers."""
    return _resnet(20, config, num_classes, shape)


@MODELS.register("resnet32")
def resnet32(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> ResNet:
    """32 layers."""
    return _resnet(32, config, num_classes, shape)


@MODELS.register("resnet110")
def resnet110(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> ResNet:
    """110 layers."""
    return _resnet(110, config, num_classes, shape)


def _resnet(depth: int, config: Config, num_classes: int, shape: tuple[int, ...]) -> ResNet:
    return ResNet(
        config.depth or depth,
        num_classes,
        shape[0],
        config.features,
        width=config.width,
        dropout=config.dropout,
        shortcut=config.shortcut,
    )


def _shortcut(form: Shortcut, inputs: int, outputs: int, stride: int) -> nn.Module:
    if (inputs, 1) == (outputs, stride):
        return nn.Identity()
    if form == "zeros":
        return PaddedShortcut(stride, outputs - inputs)
    return nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
