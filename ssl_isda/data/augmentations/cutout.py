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
from ssl_isda.data.augmentations.weak import Weak
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import send
from ssl_isda.data.views import AUGMENTATIONS, Placement

BITS = 31
"""A centre is drawn as a number below 2^31, before the size of the images is known."""


@dataclass(frozen=True)
class Config:
    """Options of ``cutout``."""

    cutout_size: Annotated[int, Interval(ge=1)] | None = None
    """Height and width of the square, in pixels; unset: half of the image's shorter side, which is the
    paper's 16 for CIFAR-10. It has 8 for CIFAR-100 and 20 for SVHN."""


@dataclass(frozen=True)
class Square:
    """A square of zeros in prepared pixels. ``size``: its side; None: half of the shorter side."""

    size: int | None = None

    def draw(self, n: int, step: Step, purpose: str) -> Tensor:
        """(n, 2): where its centre is, down and across, in 2^31sts of the image."""
        return torch.randint(1 << BITS, (n, 2), generator=step.generator(f"{purpose} cutout"))

    def hide(self, images: Tensor, draws: Tensor) -> Tensor:
        """The images, which lie in channels_last order, changed in place."""
        centres = send(draws.contiguous(), images.device)
        height, width = images.shape[-2:]
        size = max(1, min(height, width) // 2) if self.size is None else self.size
        rows, columns = _inside(centres[:, 0], height, size), _inside(centres[:, 1], width, size)
        columns = columns.repeat_interleave(images.shape[1], dim=1)
        pixels = images.permute(0, 2, 3, 1).view(len(images), height, -1)  # (n, H, W C)
        pixels.masked_fill_(rows[:, :, None] & columns[:, None, :], 0.0)
        return images


@dataclass(frozen=True)
class Cutout:
    """``weak``, then a square."""

    weak: Placement
    square: Square

    def draw(self, n: int, step: Step, purpose: str, flips_of: str | None = None) -> Tensor:
        weak = self.weak.draw(n, step, purpose, flips_of)
        return torch.cat([weak, self.square.draw(n, step, purpose)], dim=1)

    def view(self, prepared: PreparedImages, indices: Tensor, draws: Tensor) -> Tensor:
        images = self.weak.view(prepared, indices, self.of_weak(draws))
        return self.square.hide(images, draws[:, -2:])

    def of_weak(self, draws: Tensor) -> Tensor:
        """The numbers of ``weak`` among those of ``draw``."""
        return draws[:, :-2]


def _inside(drawn: Tensor, length: int, size: int) -> Tensor:
    """(n, length) bool: which places along one axis the square covers."""
    first = (drawn * length >> BITS) - size // 2
    places = torch.arange(length, device=drawn.device)
    return (places >= first[:, None]) & (places < first[:, None] + size)


@AUGMENTATIONS.register("cutout")
def cutout(config: Config, *, flip: bool, max_translation: int) -> Cutout:
    """The augmentation with these settings of the run."""
    return Cutout(Weak(flip, max_translation), Square(config.cutout_size))
