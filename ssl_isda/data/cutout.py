"""Cutout: DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout,
2017, arXiv 1708.04552.

A square of each image, weakly augmented, is set to the mean grey. Its centre is any pixel with equal
probability, so that it may hang over the edge (Sec. 3.2 there).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from ssl_isda.base.options import Interval
from ssl_isda.base.step import Step
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import send
from ssl_isda.data.views import AUGMENTATIONS
from ssl_isda.data.weak import Weak

BITS = 31
"""A centre is drawn as a number below 2^31, before the size of the images is known."""


@dataclass(frozen=True)
class Config:
    """Options of ``cutout``."""

    cutout_size: Annotated[int, Interval(ge=1)] = 16
    """Height and width of the square, in pixels; the paper has 16 for CIFAR-10, 8 for CIFAR-100."""


@dataclass(frozen=True)
class Cutout:
    """``weak``, then a square of zeros in prepared pixels."""

    weak: Weak
    size: int

    def draw(self, n: int, step: Step, purpose: str, flips_of: str | None = None) -> Tensor:
        generator = step.generator(f"{purpose} cutout")
        centres = torch.randint(1 << BITS, (n, 2), generator=generator)
        return torch.cat([self.weak.draw(n, step, purpose, flips_of), centres], dim=1)

    def view(self, prepared: PreparedImages, indices: Tensor, draws: Tensor) -> Tensor:
        images = self.weak.view(prepared, indices, draws[:, :-2])
        centres = send(draws[:, -2:].contiguous(), images.device)
        rows = _inside(centres[:, 0], images.shape[-2], self.size)
        columns = _inside(centres[:, 1], images.shape[-1], self.size)
        return images.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def _inside(drawn: Tensor, length: int, size: int) -> Tensor:
    """(n, length) bool: which places along one axis the square covers."""
    first = (drawn * length >> BITS) - size // 2
    places = torch.arange(length, device=drawn.device)
    return (places >= first[:, None]) & (places < first[:, None] + size)


@AUGMENTATIONS.register("cutout")
def cutout(config: Config, *, flip: bool, max_translation: int) -> Cutout:
    """The augmentation with these settings of the run."""
    return Cutout(Weak(flip, max_translation), config.cutout_size)
