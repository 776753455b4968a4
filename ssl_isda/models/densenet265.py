"""DenseNet-BC-265 for ImageNet, of torchvision's class, which has no name for it.

Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks, CVPR 2017, Table 1 for
the first ones; 265 layers are 6, 12, 64 and 48 in a block, each of which adds 32 channels to the 64 that
it begins with: 33,337,704 parameters for 1,000 classes, the 33.3M of ISDA's Table 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ssl_isda.models.contract import MODELS
from ssl_isda.models.torchvision_networks import TorchvisionNetwork

GROWTH, FIRST = 32, 64
"""Channels that a layer adds, and those of the first convolution."""


@dataclass(frozen=True)
class Config:
    """A DenseNet for ImageNet."""

    blocks: tuple[int, ...] = (6, 12, 64, 48)
    """Layers of each dense block."""


@MODELS.register("densenet265")
def densenet265(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> TorchvisionNetwork:
    """The network, with random weights.

    Raises
    ------
    ValueError
        It does not take these images, or a block without a layer.
    """
    if not config.blocks or min(config.blocks) < 1:
        raise ValueError(f"--blocks: each block has 1 layer or more; got {[*config.blocks]}")

    def build() -> nn.Module:
        from torchvision.models import DenseNet

        network: nn.Module = DenseNet(GROWTH, config.blocks, FIRST)
        return network

    network = TorchvisionNetwork("densenet265", num_classes, shape, build=build)
    network.smallest_side = 2 ** (len(config.blocks) + 1) - 3
    return network
