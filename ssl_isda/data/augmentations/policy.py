"""Augmentation by a pool of operations: weak, then what is drawn from the pool, then Cutout.

The operations see pixels of 0 to 255, before they are whitened or normalized; Cutout hides prepared
pixels, so that its square is the mean grey.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.data.augmentations.cutout import Square
from ssl_isda.data.augmentations.pool import Pool
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.views import Placement


@dataclass(frozen=True)
class Policy:
    """A placement, which is translation or a resized crop, the operations of ``pool``, and ``square``, if
    there is one."""

    weak: Placement
    pool: Pool
    square: Square | None

    def draw(self, n: int, step: Step, purpose: str, flips_of: str | None = None) -> Tensor:
        """(n, k): the numbers of the pool, those of the square, and those of ``weak``."""
        draws = [self.pool.draw(n, step.generator(f"{purpose} operations"))]
        if self.square:
            draws.append(self.square.draw(n, step, purpose))
        return torch.cat([*draws, self.weak.draw(n, step, purpose, flips_of)], dim=1)

    def view(self, prepared: PreparedImages, indices: Tensor, draws: Tensor) -> Tensor:
        first = 3 * self.pool.rounds
        moved = self.weak.moved(prepared.pixels, indices, self.of_weak(draws))
        if moved.dtype != torch.uint8:
            raise ValueError(
                f"an augmentation by operations needs pixels of 0 to 255 (uint8), got {moved.dtype}"
            )
        pixels = self.pool.apply(moved.permute(0, 2, 3, 1), draws[:, :first])
        images = prepared.prepare(pixels.permute(0, 3, 1, 2))
        return self.square.hide(images, draws[:, first : first + 2]) if self.square else images

    def of_weak(self, draws: Tensor) -> Tensor:
        """The numbers of ``weak`` among those of ``draw``."""
        return draws[:, 3 * self.pool.rounds + (2 if self.square else 0) :]


def square_of(size: int | None) -> Square | None:
    """What an option says: 0 is no square, None one of half the image's shorter side."""
    return None if size == 0 else Square(size)
