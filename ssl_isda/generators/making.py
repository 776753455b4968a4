"""Generated images of each step of a training: a pure function of the step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.generators.contract import Generator, pixels_of


def made_at(generator: Generator, num_classes: int) -> Callable[[Step, int], tuple[Tensor, Tensor]]:
    """What makes n images (n, C, H, W), uint8 on the generator's device, of classes (n,) on the CPU that
    are drawn with equal probabilities."""
    where = next((each.device for each in generator.parameters()), torch.device("cpu"))

    @torch.no_grad()
    def make(step: Step, n: int) -> tuple[Tensor, Tensor]:
        keyed = step.generator("generated images")
        z = generator.draw(n, keyed)
        classes = torch.randint(num_classes, (n,), generator=keyed)
        return pixels_of(generator(z.to(where), classes.to(where))), classes

    return make
