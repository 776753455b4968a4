"""Wide residual networks as MixMatch, FixMatch and the methods after them have them.

Oliver et al., Realistic Evaluation of Deep Semi-Supervised Learning Algorithms, NeurIPS 2018,
arXiv:1804.09170, and Sohn et al., FixMatch, NeurIPS 2020, arXiv:2001.07685, whose code builds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, cast, final

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.models.contract import MODELS, Network
from ssl_isda.models.convolution import convolution, pooled, scaled
from ssl_isda.models.stages import blocks_per_stage, stages

SLOPE = 0.1
EPSILON = 0.001


@dataclass(frozen=True)
class Config:
    """Depth d and widening factor k of the name, WRN-d-k."""

    depth: Annotated[int, Interval(ge=1)] | None = None
    """d, layers: 6 n + 4, or 8 n + 5 with four stages; unset: as the network's name says."""
    width: Annotated[float, Interval(gt=0)] = 1.0
    """Factor on the number of channels of the stages, which are 16 k, 32 k, 64 k and so on."""
    features: Annotated[int, Interval(ge=1)] | None = None
    """Channels of the last layer, which the head sees; unset: those of the last stage."""
    batchnorm_momentum: Annotated[float, Interval(gt=0, le=1)] = 0.001
    """Share of a step's statistics in BatchNorm's running averages, which testing uses. 0.001 is the
    methods'; a run of less than 5,000 steps needs more, such as 0.01."""


Norm = Callable[[int], nn.BatchNorm2d]


class Block(nn.Module):
    """y = S(x) + F(a), with a = LeakyReLU(BN(x)) and F = conv(LeakyReLU(BN(conv(a)))), of 3 x 3 pixels.

    S is the identity, save where the size changes: there it is a 1 x 1 convolution. The network's first
    block alone is y = S(a) + F(a).
    """

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int, *, norm: Norm) -> None:
        super().__init__()
        self.is_first = False
        self.bn1, self.conv1 = norm(inputs), convolution(inputs, middle, stride=stride)
        self.bn2, self.conv2 = norm(middle), convolution(middle, outputs)
        changes = (inputs, 1) != (outputs, stride)
        self.shortcut = convolution(inputs, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride), rounded up."""
        active = _active(self.bn1(maps))
        residual = _active(self.bn2(self.conv1(active)))
        total: Tensor = self.shortcut(active if self.is_first else maps) + self.conv2(residual)
        return total


@final
class LeakyWideResNet(Network):
    """A convolution to 16 channels, stages of n blocks (16 k, 32 k, 64 k channels and so on, each stage
    from the second on at half the size), BatchNorm, leaky ReLU of slope 0.1, global average pooling and
    a linear head.

    For RGB WRN-28-2 has 1,467,610 parameters with 10 classes, WRN-28-8 has 23,401,012 with 100 and
    WRN-37-2, of four stages of four blocks, 5,929,434 with 10. BatchNorm's epsilon is 0.001. The head
    starts with Glorot's normal weights and biases of 0.

    Differs from the code of FixMatch: convolutions have no bias, which a BatchNorm would undo. Some ports
    to PyTorch give the first convolution of the second and later stages x in place of a, so that
    BatchNorms there do nothing; this network does not.

    Parameters
    ----------
    depth : 2 n s + s + 1, where s is ``num_stages``
    widening : k
    num_stages : 3; 4 for images of 96 pixels
    features : channels of the last convolution alone; None: those of its stage
    batchnorm_momentum : share of a step's statistics in the running averages

    Raises
    ------
    ValueError
        No n gives this depth; an image is smaller than 4 pixels, or than 8 with four stages.
    """

    source = (
        "Sohn et al., FixMatch, NeurIPS 2020, arXiv:2001.07685; Oliver et al., NeurIPS 2018, "
        "arXiv:1804.09170"
    )

    def __init__(
        self,
        depth: int,
        widening: float,
        num_classes: int,
        in_channels: int = 3,
        num_stages: int = 3,
        features: int | None = None,
        batchnorm_momentum: float = 0.001,
    ) -> None:
        super().__init__()
        n = blocks_per_stage(depth, 2 * num_stages, num_stages + 1)
        self.smallest_side = 2 ** (num_stages - 1)
        widths = [scaled(16 * 2**stage, widening) for stage in range(num_stages)]
        last = features or widths[-1]
        norm = partial(nn.BatchNorm2d, eps=EPSILON, momentum=batchnorm_momentum)
        self.conv = convolution(in_channels, 16)
        blocks = [*stages(partial(Block, norm=norm), n, 16, widths, features)]
        cast(Block, blocks[0][0]).is_first = True
        self.body = nn.Sequential(*blocks)
        self.bn = norm(last)
        self.head = nn.Linear(last, num_classes)
        nn.init.xavier_normal_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def features(self, images: Tensor) -> Tensor:
        self.refuse_small(images)
        return pooled(_active(self.bn(self.body(self.conv(images)))))

    def stages(self) -> list[list[nn.Parameter]]:
        """The first convolution, each stage, the last BatchNorm, and the head."""
        parts = (self.conv, *self.body, self.bn, self.head)
        return [list(part.parameters()) for part in parts]


@MODELS.register("wrn_28_2")
def wrn_28_2(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> LeakyWideResNet:
    """For CIFAR-10 and SVHN."""
    return _network(28, 2, 3, config, num_classes, shape)


@MODELS.register("wrn_28_8")
def wrn_28_8(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> LeakyWideResNet:
    """For CIFAR-100."""
    return _network(28, 8, 3, config, num_classes, shape)


@MODELS.register("wrn_37_2")
def wrn_37_2(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> LeakyWideResNet:
    """For STL-10, images of 96 pixels: four stages."""
    return _network(37, 2, 4, config, num_classes, shape)


def _network(
    depth: int,
    widening: int,
    num_stages: int,
    config: Config,
    num_classes: int,
    shape: tuple[int, ...],
) -> LeakyWideResNet:
    return LeakyWideResNet(
        config.depth or depth,
        config.width * widening,
        num_classes,
        shape[0],
        num_stages,
        config.features,
        config.batchnorm_momentum,
    )


def _active(maps: Tensor) -> Tensor:
    return F.leaky_relu(maps, SLOPE)
