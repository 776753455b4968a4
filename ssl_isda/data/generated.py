"""Generated images as a part of every labeled batch: the rivals of Table 5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.data.preparation import Preparation, PreparedImages
from ssl_isda.data.source import InMemory

Make = Callable[[Step, int], tuple[Tensor, Tensor]]
"""At a step, so many images (n, C, H, W) as uint8 on the device, and their classes (n,) on the CPU: a
pure function of the step."""


@dataclass(frozen=True)
class Generated:
    """``count`` images at each step, prepared as the real ones are."""

    make: Make
    count: int
    prepare: Preparation

    def at(self, step: Step) -> tuple[PreparedImages, Tensor]:
        """The images, to be augmented as any others, and their classes (n,) on the CPU."""
        pixels, classes = self.make(step, self.count)
        return self.prepare.of(InMemory(pixels)).to(pixels.device), classes
