"""The contract of a generator and of a pair that is trained against each other, and both by name.

Shape key: n images, d numbers of z, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ssl_isda.base.registry import Registry

NUM_NOISE = 100
"""Standard normal numbers in a z: Appendix C of ISDA."""


class Generator(nn.Module):
    """z to images: ``generator(z, classes)`` is (n, C, H, W) with pixels from -1 to 1.

    z : (n, num_noise + num_code), standard normal numbers, then numbers from -1 to 1
    classes : (n,) int64, which a generator that does not know classes passes over
    """

    num_noise: int = NUM_NOISE
    num_code: int = 0
    knows_classes: bool = False

    def forward(self, z: Tensor, classes: Tensor) -> Tensor:
        raise NotImplementedError

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, num_noise + num_code) on the CPU."""
        noise = torch.randn(n, self.num_noise, generator=generator)
        code = 2 * torch.rand(n, self.num_code, generator=generator) - 1
        return torch.cat([noise, code], 1)


class Draw(NamedTuple):
    """What is random in a step, for n generated images.

    z : (n, d)
    classes : (n,) int64, that the images are to have
    mixture : (n, 1, 1, 1), from 0 to 1: where between a real and a generated image
    """

    z: Tensor
    classes: Tensor
    mixture: Tensor

    def to(self, device: torch.device) -> Draw:
        """The same on another device."""
        return Draw(*(each.to(device) for each in self))


Losses = dict[str, Tensor]
"""The terms by name, each a scalar; what is minimised is their sum."""


class Gan(nn.Module):
    """A generator and what it is trained against.

    ``real`` are images (n, C, H, W) with pixels from -1 to 1, ``labels`` (n,) their classes.
    """

    generator: Generator
    critic: nn.Module
    critic_steps: int = 1
    """Steps of the critic before each of the generator."""
    each_class: bool = False
    """Whether every class has a pair of its own, so that a batch is of one class."""

    def critic_losses(self, real: Tensor, labels: Tensor, draw: Draw) -> Losses:
        """What the critic minimises."""
        raise NotImplementedError

    def generator_losses(self, draw: Draw) -> Losses:
        """What the generator minimises."""
        raise NotImplementedError

    def generated(self, draw: Draw) -> Tensor:
        """(n, C, H, W), with a gradient for the generator."""
        images: Tensor = self.generator(draw.z, draw.classes)
        return images

    @torch.no_grad()
    def generated_for_critic(self, draw: Draw) -> Tensor:
        """The same without a gradient."""
        return self.generated(draw)


class GanFactory(Protocol):
    """Builds a pair from its ``Config``, which has ``learning_rate``, ``beta_1`` and ``beta_2`` of Adam;
    ``shape`` is that of an image."""

    def __call__(self, config: Any, *, num_classes: int, shape: tuple[int, ...]) -> Gan: ...


GANS: Registry[GanFactory] = Registry("gan")
"""Every pair by name; ``@GANS.register("wgan")`` stands above a function that builds it."""

GENERATORS: Registry[Callable[..., nn.Module]] = Registry("generator")
"""Generators that are trained elsewhere, by name: what is registered takes nothing, or any of
``weights``, ``classes``, ``class_names`` and ``shape`` (``saved.Asked``), and gives a module. The module
is called with z, or with z and classes if it has ``knows_classes = True``; ``num_noise`` says how many
numbers z has, 100 where it says nothing."""


def pixels_of(images: Tensor) -> Tensor:
    """Pixels from -1 to 1 as uint8 from 0 to 255, rounded."""
    return ((images.detach().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def images_of(pixels: Tensor) -> Tensor:
    """uint8 from 0 to 255 as float32 from -1 to 1."""
    return pixels.float() / 127.5 - 1
