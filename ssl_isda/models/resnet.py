"""Residual networks in their form for CIFAR.

He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385, Sec. 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.models.contract import MODELS, Network


@dataclass(frozen=True)
class Config:
    """The widths of the paper."""

    features: Annotated[int, Interval(ge=1)] | None = None
    """Channels of the last layer, which the head sees; unset: 64."""


class Block(nn.Module):
    """y = ReLU(x + F(x)), with F two 3 x 3 convolutions, each followed by BatchNorm.

    Where the size changes, the shortcut has no parameters (the paper's option A): every
    ``stride``-th pixel, with zeros for the channels that are new.
    """

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.new_channels = stride, outputs - inputs
        self.conv1, self.bn1 = _convolution(inputs, middle, stride), nn.BatchNorm2d(middle)
        self.conv2, self.bn2 = _convolution(middle, outputs), nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride), rounded up."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps)))))
        shortcut = maps[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.new_channels))
        return F.relu(shortcut + residual)


@final
class ResNet(Network):
    """6 n + 2 layers: a convolution, three stages of n blocks (16, 32 and 64 channels, each stage
    from the second on at half the size), global average pooling and a linear head.

    He-normal initialisation, no bias before BatchNorm. For 10 classes and RGB: 269,722 parameters
    with 20 layers and 464,154 with 32 (the paper counts 0.27 M and 0.46 M).

    Parameters
    ----------
    depth : 6 n + 2
    features : channels of the last convolution alone; None: 64

    Raises
    ------
    ValueError
        No n gives this depth.
    """

    def __init__(
        self, depth: int, num_classes: int, in_channels: int = 3, features: int | None = None
    ) -> None:
        super().__init__()
        n, rest = divmod(depth - 2, 6)
        if n < 1 or rest:
            raise ValueError(f"depth is 6 n + 2, so 8, 14, 20 and so on; got {depth}")
        last = features or 64
        self.conv, self.bn = _convolution(in_channels, 16), nn.BatchNorm2d(16)
        self.stage1 = _stage(n, 16, 16, 16, stride=1)
        self.stage2 = _stage(n, 16, 32, 32, stride=2)
        self.stage3 = _stage(n, 32, 64, last, stride=2)
        self.head = nn.Linear(last, num_classes)

    def features(self, images: Tensor) -> Tensor:
        maps: Tensor = F.relu(self.bn(self.conv(images)))
        maps = self.stage3(self.stage2(self.stage1(maps)))
        return maps.mean((2, 3), dtype=torch.promote_types(maps.dtype, torch.float32))


@MODELS.register("resnet20")
def resnet20(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> ResNet:
    """20 layers."""
    return ResNet(20, num_classes, shape[0], config.features)


@MODELS.register("resnet32")
def resnet32(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> ResNet:
    """32 layers."""
    return ResNet(32, num_classes, shape[0], config.features)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return convolution


def _stage(n: int, inputs: int, width: int, outputs: int, stride: int) -> nn.Sequential:
    """n blocks of this width, of which the last gives ``outputs`` channels."""
    first = [inputs, *[width] * (n - 1)]
    last = [*[width] * (n - 1), outputs]
    strides = [stride, *[1] * (n - 1)]
    return nn.Sequential(
        *(Block(a, width, b, s) for a, b, s in zip(first, last, strides, strict=True))
    )
