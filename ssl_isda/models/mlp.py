"""A multilayer perceptron for vectors; images are flattened."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, final

from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.models.contract import MODELS, Network

Normalization = Literal["batchnorm", "layernorm"]
NORMALIZATIONS = {"batchnorm": nn.BatchNorm1d, "layernorm": nn.LayerNorm}


@dataclass(frozen=True)
class Config:
    """Widths that suit embeddings of a few hundred numbers."""

    hidden: Annotated[int, Interval(ge=1)] = 256
    """Units of the first layer."""
    features: Annotated[int, Interval(ge=1)] = 64
    """Units of the second and last layer, which the head sees."""
    widths: tuple[Annotated[int, Interval(ge=1)], ...] = ()
    """Units of any number of layers in place of the first one, such as 512 256; unset: that of
    hidden."""
    normalization: Literal["batchnorm", "layernorm"] = "batchnorm"
    """What follows each layer: BatchNorm, over the rows of a batch, or LayerNorm, within each row."""
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Probability of dropout after each layer."""


@final
class MLP(Network):
    """Linear layers, each with a normalization, ReLU and dropout, if any; and a linear head.

    Parameters
    ----------
    num_inputs : d, the numbers of one input
    hidden : units of the layers before the last one; of one, or of as many as are given
    features : units of the last layer, which the head sees
    normalization : ``batchnorm`` or ``layernorm``
    dropout : probability, after each layer

    Raises
    ------
    ValueError
        Another normalization, or a layer without units.
    """

    def __init__(
        self,
        num_classes: int,
        num_inputs: int,
        hidden: int | Sequence[int] = 256,
        features: int = 64,
        normalization: Normalization = "batchnorm",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [hidden] if isinstance(hidden, int) else [*hidden]
        if min(*widths, features, features) < 1:
            raise ValueError(f"each layer has 1 unit or more; got {[*widths, features]}")
        if normalization not in NORMALIZATIONS:
            raise ValueError(
                f"normalization is {' or '.join(NORMALIZATIONS)}; got {normalization!r}"
            )
        normalize = NORMALIZATIONS[normalization]
        self.body = nn.Sequential(
            nn.Flatten(), *_layers([num_inputs, *widths, features], normalize, dropout)
        )
        self.head = nn.Linear(features, num_classes)

    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images)
        return features


def _layers(
    widths: Sequence[int], normalize: type[nn.Module], dropout: float
) -> Iterator[nn.Module]:
    """From each width to the next one; without dropout there is no module for it."""
    for inputs, outputs in pairwise(widths):
        yield from (nn.Linear(inputs, outputs, bias=False), normalize(outputs))
        yield nn.ReLU(inplace=True)
        if dropout:
            yield nn.Dropout(dropout)


@MODELS.register("mlp")
def mlp(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> MLP:
    """``MLP`` for inputs of this shape."""
    return MLP(
        num_classes,
        math.prod(shape),
        config.widths or config.hidden,
        config.features,
        config.normalization,
        config.dropout,
    )
