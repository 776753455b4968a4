"""Residual networks whose width grows from block to block, with blocks that are disturbed at random.

Han et al., Deep Pyramidal Residual Networks, CVPR 2017, arXiv:1610.02915.
Yamada et al., ShakeDrop Regularization, IEEE Access 2019, arXiv:1802.02375.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.models.contract import MODELS, Network
from ssl_isda.models.convolution import convolution, pooled
from ssl_isda.models.shaking import ShakeDrop
from ssl_isda.models.stages import blocks_per_stage


@dataclass(frozen=True)
class Config:
    """The settings of PyramidNet-272 with alpha 200 and ShakeDrop."""

    depth: Annotated[int, Interval(ge=1)] | None = None
    """Layers: 9 n + 2; unset: as the network's name says."""
    width: Annotated[float, Interval(gt=0)] = 1.0
    """Factor on alpha, the channels by which the width of a block grows from the first to the last."""
    drop_probability: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """Probability with which ShakeDrop disturbs the last block; the others' grow linearly to it."""
    features: Annotated[int, Interval(ge=1)] | None = None
    """Channels of the last layer, which the head sees; unset: 4 times the last block's width."""


class Block(nn.Module):
    """y = S(x) + ShakeDrop(F(x)), with F BatchNorm, then convolutions of 1 x 1, 3 x 3 and 1 x 1 pixels,
    each followed by BatchNorm, with ReLU between them.

    S has no parameters: means of 2 x 2 pixels at stride 2, and zeros for the channels that are new.
    """

    def __init__(
        self, inputs: int, middle: int, outputs: int, stride: int, drop_probability: float
    ) -> None:
        super().__init__()
        self.stride, self.new_channels = stride, outputs - inputs
        self.branch = nn.Sequential(
            nn.BatchNorm2d(inputs),
            convolution(inputs, middle, 1),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            convolution(middle, middle, stride=stride),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            convolution(middle, outputs, 1),
            nn.BatchNorm2d(outputs),
        )
        self.drop = ShakeDrop(drop_probability)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride), rounded up."""
        shortcut = maps
        if self.stride > 1:
            shortcut = F.avg_pool2d(maps, self.stride, ceil_mode=True)
        residual: Tensor = self.drop(self.branch(maps))
        return F.pad(shortcut, (0, 0, 0, 0, 0, self.new_channels)) + residual


@final
class PyramidNet(Network):
    """9 n + 2 layers: a convolution to 16 channels and BatchNorm, 3 n bottleneck blocks in three stages,
    each from the second on at half the size, BatchNorm, ReLU, global average pooling and a linear head.

    Block l of L = 3 n has width 16 + alpha l / L, rounded, and gives 4 times as many channels; ShakeDrop
    disturbs it with probability p l / L. With 272 layers and alpha 200 there are 26,210,842 parameters
    for 10 classes and 26,288,692 for 100.

    Parameters
    ----------
    depth : 9 n + 2
    alpha : channels by which the width grows
    drop_probability : p
    features : channels of the last block alone; None: 4 times its width

    Raises
    ------
    ValueError
        No n gives this depth; an image is smaller than 4 pixels.
    """

    source = (
        "Han et al., Deep Pyramidal Residual Networks, CVPR 2017, arXiv:1610.02915; "
        "Yamada et al., ShakeDrop Regularization, IEEE Access 2019, arXiv:1802.02375"
    )
    smallest_side = 4

    def __init__(
        self,
        depth: int,
        alpha: float,
        num_classes: int,
        in_channels: int = 3,
        drop_probability: float = 0.5,
        features: int | None = None,
    ) -> None:
        super().__init__()
        n = blocks_per_stage(depth, 9, 2)
        self.conv, self.bn1 = convolution(in_channels, 16), nn.BatchNorm2d(16)
        widths = [round(16 + alpha * block / (3 * n)) for block in range(1, 3 * n + 1)]
        outputs = [4 * width for width in widths]
        outputs[-1] = features or outputs[-1]
        blocks = [
            Block(
                inputs=outputs[number - 1] if number else 16,
                middle=widths[number],
                outputs=outputs[number],
                stride=2 if number in (n, 2 * n) else 1,
                drop_probability=drop_probability * (number + 1) / (3 * n),
            )
            for number in range(3 * n)
        ]
        self.stage1, self.stage2, self.stage3 = (
            nn.Sequential(*blocks[first : first + n]) for first in (0, n, 2 * n)
        )
        self.bn2 = nn.BatchNorm2d(outputs[-1])
        self.head = nn.Linear(outputs[-1], num_classes)

    def features(self, images: Tensor) -> Tensor:
        self.refuse_small(images)
        maps: Tensor = self.bn1(self.conv(images))
        maps = self.stage3(self.stage2(self.stage1(maps)))
        return pooled(F.relu(self.bn2(maps)))


@MODELS.register("pyramidnet272")
def pyramidnet272(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> PyramidNet:
    """272 layers, alpha 200, with ShakeDrop."""
    return PyramidNet(
        config.depth or 272,
        200 * config.width,
        num_classes,
        shape[0],
        config.drop_probability,
        config.features,
    )
