"""A linear classifier: softmax regression on vectors, or on an image's pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from ssl_isda.models.contract import MODELS, Network


@dataclass(frozen=True)
class Config:
    """No options."""


@final
class Linear(Network):
    """A linear head alone: the features are the inputs, flattened. ``num_inputs`` are d."""

    def __init__(self, num_classes: int, num_inputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(num_inputs, num_classes)

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)


@MODELS.register("linear")
def linear(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> Linear:
    """``Linear`` for inputs of this shape."""
    return Linear(num_classes, math.prod(shape))
