"""A multilayer perceptron for vectors; images are flattened."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, final

from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.models.contract import MODELS, Network


@dataclass(frozen=True)
class Config:
    """Widths that suit embeddings of a few hundred numbers."""

    hidden: Annotated[int, Interval(ge=1)] = 256
    """Units of the first layer."""
    features: Annotated[int, Interval(ge=1)] = 64
    """Units of the second and last layer, which the head sees."""


@final
class MLP(Network):
    """Two linear layers, each with BatchNorm and ReLU, and a linear head.

    Parameters
    ----------
    num_inputs : d, the numbers of one input
    """

    def __init__(
        self, num_classes: int, num_inputs: int, hidden: int = 256, features: int = 64
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(num_inputs, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, features, bias=False),
            nn.BatchNorm1d(features),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(features, num_classes)

    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images)
        return features


@MODELS.register("mlp")
def mlp(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> MLP:
    """``MLP`` for inputs of this shape."""
    return MLP(num_classes, math.prod(shape), config.hidden, config.features)
