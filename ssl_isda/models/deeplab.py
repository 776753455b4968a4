"""DeepLab-v3: Chen, Papandreou, Schroff, Adam, Rethinking Atrous Convolution for Semantic Image
Segmentation, 2017, arXiv:1706.05587.

| part | what |
| --- | --- |
| backbone | ResNet-50 or -101, dilated, an eighth of the image's size (``ssl_isda.models.dilated``) |
| branches | 1 x 1; 3 x 3 with holes of 12, 24, 36; the mean of the image, 1 x 1; 256 channels each |
| body | the 1,280 channels beside each other, 1 x 1 to 512 features, Dropout2d 0.1 |
| head | 1 x 1 to the classes |

The 512 features, where the paper has 256 and torchvision with it, are those of ISDA's experiments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.models.contract import MODELS
from ssl_isda.models.dilated import DROPOUT, DilatedNetwork, layer

HOLES = (12, 24, 36)


@dataclass(frozen=True)
class Config:
    """Options of the DeepLabs."""

    width: Annotated[float, Interval(gt=0)] = 1.0
    """Factor on the channels of the ResNet's stages and of the branches."""
    features: Annotated[int, Interval(ge=1)] = 512
    """Channels of the last layer."""


class Branches(nn.Module):
    """(n, c, h, w) to (n, features, h, w), with ``each`` channels in a branch."""

    def __init__(self, inputs: int, each: int, features: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), *layer(inputs, each))
        self.point = nn.Sequential(*layer(inputs, each))
        self.holes = nn.ModuleList(nn.Sequential(*layer(inputs, each, 3, hole)) for hole in HOLES)
        joined = (2 + len(HOLES)) * each
        self.last = nn.Sequential(*layer(joined, features), nn.Dropout2d(DROPOUT))

    def forward(self, maps: Tensor) -> Tensor:
        mean = self.mean(maps).expand(-1, -1, *maps.shape[2:])
        branches = [mean, self.point(maps), *(hole(maps) for hole in self.holes)]
        found: Tensor = self.last(torch.cat(branches, 1))
        return found


class DeepLabV3(DilatedNetwork):
    """(n, channels, h, w) to logits (n, c, h/8, w/8), rounded up."""

    source = "Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation, 2017"

    def body_of(self, inputs: int, inner: int, features: int) -> nn.Module:
        return Branches(inputs, max(1, inner // 2), features)


@MODELS.register("deeplabv3_resnet50")
def deeplabv3_resnet50(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> DeepLabV3:
    """The network with these settings of the run."""
    return DeepLabV3(50, num_classes, config.width, config.features, shape[0])


@MODELS.register("deeplabv3_resnet101")
def deeplabv3_resnet101(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> DeepLabV3:
    """The network with these settings of the run."""
    return DeepLabV3(101, num_classes, config.width, config.features, shape[0])
