"""PSPNet: Zhao, Shi, Qi, Wang, Jia, Pyramid Scene Parsing Network, CVPR 2017, arXiv:1612.01105.

| part | what |
| --- | --- |
| backbone | ResNet-50 or -101, dilated, an eighth of the image's size (``ssl_isda.models.dilated``) |
| pyramid | means over 1 x 1, 2 x 2, 3 x 3 and 6 x 6 regions, each 1 x 1 to 512, enlarged |
| body | pyramid and the 2,048 channels beside each other, 3 x 3 to 512 features, Dropout2d 0.1 |
| head | 1 x 1 to the classes |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.models.contract import MODELS
from ssl_isda.models.dilated import DROPOUT, DilatedNetwork, enlarged, layer

REGIONS = (1, 2, 3, 6)


@dataclass(frozen=True)
class Config:
    """Options of the PSPNets."""

    width: Annotated[float, Interval(gt=0)] = 1.0
    """Factor on the channels of the ResNet's stages and of the pyramid."""
    features: Annotated[int, Interval(ge=1)] = 512
    """Channels of the last layer."""


class Pyramid(nn.Module):
    """(n, c, h, w) to (n, features, h, w), with ``inner`` channels for each size of regions."""

    def __init__(self, inputs: int, inner: int, features: int) -> None:
        super().__init__()
        self.regions = nn.ModuleList(nn.Sequential(*layer(inputs, inner)) for _ in REGIONS)
        joined = inputs + len(REGIONS) * inner
        self.last = nn.Sequential(*layer(joined, features, 3), nn.Dropout2d(DROPOUT))

    def forward(self, maps: Tensor) -> Tensor:
        means = (F.adaptive_avg_pool2d(maps, number) for number in REGIONS)
        priors = [
            enlarged(region(mean), maps) for region, mean in zip(self.regions, means, strict=True)
        ]
        found: Tensor = self.last(torch.cat([*priors, maps], 1))
        return found


class PSPNet(DilatedNetwork):
    """(n, channels, h, w) to logits (n, c, h/8, w/8), rounded up."""

    source = "Zhao et al., Pyramid Scene Parsing Network, CVPR 2017"

    def body_of(self, inputs: int, inner: int, features: int) -> nn.Module:
        return Pyramid(inputs, inner, features)


@MODELS.register("pspnet_resnet50")
def pspnet_resnet50(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> PSPNet:
    """The network with these settings of the run."""
    return PSPNet(50, num_classes, config.width, config.features, shape[0])


@MODELS.register("pspnet_resnet101")
def pspnet_resnet101(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> PSPNet:
    """The network with these settings of the run."""
    return PSPNet(101, num_classes, config.width, config.features, shape[0])
