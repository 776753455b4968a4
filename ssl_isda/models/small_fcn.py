"""A small fully convolutional network with a class for each pixel, for machines without a GPU.

Its shape is that of U-Net (Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical Image
Segmentation, MICCAI 2015, arXiv:1505.04597), with padding, BatchNorm and one level less: convolutions at
a half, a quarter and an eighth of the image's size, each with one of the size before beside it on the way
back. The features are those of the half size; the head is a 1 x 1 convolution of them, so that logits are
linear in one cell's features.

| convolutions, 3 x 3 | channels at width 1 | of the image's size |
| --- | --- | --- |
| 1 with stride 2, 1 | 32 | 1/2 |
| 1 with stride 2, 1 | 64 | 1/4 |
| 1 with stride 2, 2 (the second with holes of 2) | 128 | 1/8 |
| enlarged, with the 64 beside: 1 | 64 | 1/4 |
| enlarged, with the 32 beside: 1 | ``features``, 64 | 1/2 |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.models.contract import MODELS, Network
from ssl_isda.models.convolution import scaled


@dataclass(frozen=True)
class Config:
    """Options of ``small_fcn``."""

    width: Annotated[float, Interval(gt=0)] = 1.0
    """Factor on all channels."""
    features: Annotated[int, Interval(ge=1)] | None = None
    """Channels of the last layer; unset: 64 times the width."""


class SmallFCN(Network):
    """(n, channels, h, w) to logits (n, c, h/2, w/2), rounded up."""

    smallest_side = 8
    source = "The shape of U-Net (Ronneberger et al., MICCAI 2015), smaller"

    def __init__(
        self,
        num_classes: int,
        width: float = 1.0,
        features: int | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        a, b, c = (scaled(channels, width) for channels in (32, 64, 128))
        features = scaled(64, width) if features is None else features
        self.at_half = nn.Sequential(*_layer(in_channels, a, stride=2), *_layer(a, a))
        self.at_quarter = nn.Sequential(*_layer(a, b, stride=2), *_layer(b, b))
        self.at_eighth = nn.Sequential(
            *_layer(b, c, stride=2), *_layer(c, c), *_layer(c, c, dilation=2)
        )
        self.to_quarter = nn.Sequential(*_layer(c + b, b))
        self.to_half = nn.Sequential(*_layer(b + a, features))
        self.head = nn.Conv2d(features, num_classes, 1)

    def features(self, images: Tensor) -> Tensor:
        self.refuse_small(images)
        half = self.at_half(images)
        quarter = self.at_quarter(half)
        found = self.to_quarter(_beside(self.at_eighth(quarter), quarter))
        features: Tensor = self.to_half(_beside(found, half))
        return features


def _beside(small: Tensor, large: Tensor) -> Tensor:
    """Both at the size of ``large``, one behind the other."""
    enlarged = F.interpolate(small, large.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat([enlarged, large], 1)


def _layer(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


@MODELS.register("small_fcn")
def small_fcn(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> SmallFCN:
    """The network with these settings of the run."""
    return SmallFCN(num_classes, config.width, config.features, shape[0])
