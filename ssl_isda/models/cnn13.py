"""CNN-13, the network of the semi-supervised literature (Table 10 of ISDA)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from ssl_isda.models.contract import MODELS, Classifier

SLOPE = 0.1


@MODELS.register("cnn13")
@final
class CNN13(Classifier):
    """Nine convolutions in three stages, global average pooling and a linear head.

    Table 10, with BatchNorm after each convolution (which therefore has no bias), no weight norm, and
    He-normal initialisation. 3,121,802 parameters for 10 classes and 3,133,412 for 100.

    Parameters
    ----------
    num_classes : C
    width : scales every channel count; 0.25 is usable on a laptop
    in_channels : 3 for RGB, 1 for grey
    dropout : probability, after each of the two poolings

    Images may have any size from 16 x 16 pixels: the third stage takes two pixels off each side
    length after two halvings.

    Raises
    ------
    ValueError
        ``width`` is not positive; an image is smaller than 16 pixels.
    """

    def __init__(
        self, num_classes: int, width: float = 1.0, in_channels: int = 3, dropout: float = 0.5
    ) -> None:
        super().__init__()
        if width <= 0:
            raise ValueError(f"width scales the channels and is above 0; got {width}")
        w128, w256, w512 = (max(1, round(n * width)) for n in (128, 256, 512))
        self.body = nn.Sequential(
            *_convolution(in_channels, w128, 3, padding=1),
            *_convolution(w128, w128, 3, padding=1),
            *_convolution(w128, w128, 3, padding=1),
            nn.MaxPool2d(2),
            nn.Dropout(dropout),
            *_convolution(w128, w256, 3, padding=1),
            *_convolution(w256, w256, 3, padding=1),
            *_convolution(w256, w256, 3, padding=1),
            nn.MaxPool2d(2),
            nn.Dropout(dropout),
            *_convolution(w256, w512, 3, padding=0),
            *_convolution(w512, w256, 1, padding=0),
            *_convolution(w256, w128, 1, padding=0),
        )
        self.head = nn.Linear(w128, num_classes)

    def features(self, images: Tensor) -> Tensor:
        if min(images.shape[-2:]) < 16:
            raise ValueError(
                f"CNN-13 needs images of 16 x 16 pixels or more; got {tuple(images.shape[-2:])}"
            )
        maps: Tensor = self.body(images)
        return maps.mean((2, 3), dtype=torch.promote_types(maps.dtype, torch.float32))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(images)
        with torch.autocast(images.device.type, enabled=False):
            return self.head(features), features


def _convolution(inputs: int, outputs: int, size: int, padding: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, size, padding=padding, bias=False)
    nn.init.kaiming_normal_(convolution.weight, a=SLOPE, nonlinearity="leaky_relu")
    return convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(SLOPE, inplace=True)
