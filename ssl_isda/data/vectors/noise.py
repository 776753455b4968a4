"""Gaussian noise on every number of a vector: z + sigma e,  e ~ N(0, I)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from ssl_isda.base.options import Interval
from ssl_isda.base.step import Step
from ssl_isda.data.vectors.augmentation import VectorAugmentation, drawn_normal
from ssl_isda.data.vectors.prepared import PreparedVectors
from ssl_isda.data.views import AUGMENTATIONS
from ssl_isda.parallel.distributed import part


@dataclass(frozen=True)
class Config:
    """Options of ``vector_noise``."""

    noise_std: Annotated[float, Interval(ge=0)] = 0.5
    """sigma, in standard deviations of each number; a method's own input noise comes on top. 0: the
    rows as they are."""


@dataclass(frozen=True)
class VectorNoise(VectorAugmentation):
    """Noise of standard deviation ``std``."""

    std: float

    def rows(self, prepared: PreparedVectors, indices: Tensor, step: Step, purpose: str) -> Tensor:
        rows = prepared.rows(part(indices))
        return rows.add_(drawn_normal(rows, step, purpose), alpha=self.std) if self.std else rows


@AUGMENTATIONS.register("vector_noise")
def vector_noise(config: Config, *, flip: bool, max_translation: int) -> VectorNoise:
    """The augmentation; flips and translations are for images."""
    return VectorNoise(config.noise_std)
