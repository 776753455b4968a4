"""CNN-13, the network of the semi-supervised literature (Table 10 of ISDA)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.models.contract import MODELS, Network

SLOPE = 0.1


@dataclass(frozen=True)
class Config:
    """The widths of Table 10."""

    width: Annotated[float, Interval(gt=0)] = 1.0
    """Factor on the number of the network's channels; 0.25 suits a laptop."""
    features: Annotated[int, Interval(ge=1)] | None = None
    """Channels of the last layer, which the head sees; unset: 128 times the width."""


@final
class CNN13(Network):
    """Nine convolutions in three stages, global average pooling and a linear head.

    Table 10, with BatchNorm after each convolution (which therefore has no bias), no weight norm, and
    He-normal initialisation. 3,121,802 parameters for 10 classes and 3,133,412 for 100.

    Parameters
    ----------
    num_classes : C
    width : scales every channel count; 0.25 is usable on a laptop
    in_channels : 3 for RGB, 1 for grey
    dropout : probability, after each of the two poolings
    features : channels of the last layer alone; None: as ``width`` says

    Images may have any size from 16 x 16 pixels: the third stage takes two pixels off each side
    length after two halvings.

    Raises
    ------
    ValueError
        ``width`` is not positive; an image is smaller than 16 pixels.
    """

    source = (
        "Guo et al., ISDA, arXiv:2007.10538, Table 10; Laine & Aila, ICLR 2017, arXiv:1610.02242"
    )
    smallest_side = 16

    def __init__(
        self,
        num_classes: int,
        width: float = 1.0,
        in_channels: int = 3,
        dropout: float = 0.5,
        features: int | None = None,
    ) -> None:
        super().__init__()
        if width <= 0:
            raise ValueError(f"width scales the channels and is above 0; got {width}")
        w128, w256, w512 = (max(1, round(n * width)) for n in (128, 256, 512))
        last = features or w128
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
            *_convolution(w256, last, 1, padding=0),
        )
        self.head = nn.Linear(last, num_classes)

    def features(self, images: Tensor) -> Tensor:
        self.refuse_small(images)
        maps: Tensor = self.body(images)
        return maps.mean((2, 3), dtype=torch.promote_types(maps.dtype, torch.float32))

    def stages(self) -> list[list[nn.Parameter]]:
        """The three stages between the poolings, and the head."""
        stages: list[list[nn.Parameter]] = [[]]
        for layer in self.body:
            stages += [[]] if isinstance(layer, nn.MaxPool2d) else []
            stages[-1] += layer.parameters()
        return [*stages, list(self.head.parameters())]


@MODELS.register("cnn13")
def cnn13(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> CNN13:
    """``CNN13`` for images of this shape."""
    return CNN13(num_classes, config.width, shape[0], features=config.features)


def _convolution(inputs: int, outputs: int, size: int, padding: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, size, padding=padding, bias=False)
    nn.init.kaiming_normal_(convolution.weight, a=SLOPE, nonlinearity="leaky_relu")
    return convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(SLOPE, inplace=True)
