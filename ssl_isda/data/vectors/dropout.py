"""Feature dropout: some numbers of a vector are replaced by the mean of all training rows.

    z_j <- b_j z_j,    b_j ~ Bernoulli(1 - p),  z_j standardised, so that 0 is the mean

The others keep their size: a number that is missing is one that nobody knows, and not a smaller one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from ssl_isda.base.options import Interval
from ssl_isda.base.step import Step
from ssl_isda.data.vectors.augmentation import VectorAugmentation, drawn_uniform
from ssl_isda.data.vectors.prepared import PreparedVectors
from ssl_isda.data.views import AUGMENTATIONS
from ssl_isda.parallel.distributed import part


@dataclass(frozen=True)
class Config:
    """Options of ``vector_dropout``."""

    dropped_share: Annotated[float, Interval(ge=0, lt=1)] = 0.2
    """p: probability of each number of a row to be replaced."""


@dataclass(frozen=True)
class VectorDropout(VectorAugmentation):
    """Each number becomes 0 with probability ``share``, on its own."""

    share: float

    def rows(self, prepared: PreparedVectors, indices: Tensor, step: Step, purpose: str) -> Tensor:
        rows = prepared.rows(part(indices))
        return rows.masked_fill_(drawn_uniform(rows, step, purpose) < self.share, 0.0)


@AUGMENTATIONS.register("vector_dropout")
def vector_dropout(config: Config, *, flip: bool, max_translation: int) -> VectorDropout:
    """The augmentation; flips and translations are for images."""
    return VectorDropout(config.dropped_share)
