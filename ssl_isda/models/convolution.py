"""What the networks for CIFAR share: convolutions with He's initial weights, and the last pooling.

He et al., Delving Deep into Rectifiers, ICCV 2015, arXiv:1502.01852.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


def convolution(
    inputs: int,
    outputs: int,
    size: int = 3,
    stride: int = 1,
    groups: int = 1,
    fan: Literal["fan_in", "fan_out"] = "fan_out",
) -> nn.Conv2d:
    """``size`` x ``size`` pixels with zeros around the image, so that stride 1 keeps its size; no bias.

    Weights are drawn from N(0, 2 / (size^2 c)), where c are the ``outputs`` ("fan_out") or the inputs
    of a group ("fan_in").
    """
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode=fan, nonlinearity="relu")
    return layer


def pooled(maps: Tensor) -> Tensor:
    """(n, a, h, w) to the means of each channel, (n, a), in fp32 or wider."""
    return maps.mean((2, 3), dtype=torch.promote_types(maps.dtype, torch.float32))


def scaled(channels: int, width: float) -> int:
    """``width`` times as many channels, at least one."""
    return max(1, round(width * channels))
