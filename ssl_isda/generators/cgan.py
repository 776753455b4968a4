"""Conditional GAN: generator and discriminator are both told the class.

Mirza & Osindero, Conditional generative adversarial nets, 2014, arXiv:1411.1784:

    discriminator:  -mean log D(x | y) - mean log(1 - D(G(z | y) | y))
    generator:      -mean log D(G(z | y) | y)

The class stands behind z as a one-hot vector, and beside the image as planes of which one is 1. The
generator's loss is the one that does not saturate.

Differs from the paper: convolutional networks, those of DCGAN, in place of maxout layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.generators.contract import GANS, Draw, Gan, Losses
from ssl_isda.generators.discriminators import is_generated, is_real
from ssl_isda.generators.networks import Body, ConvolutionalGenerator, initialise


@dataclass(frozen=True)
class Config:
    """Adam's settings are those of DCGAN."""

    channels: Annotated[int, Interval(ge=1)] = 64
    """Of the largest maps; each halving of the side doubles them."""
    learning_rate: Annotated[float, Interval(gt=0)] = 2e-4
    """Of Adam, for both."""
    beta_1: Annotated[float, Interval(ge=0, lt=1)] = 0.5
    """Of Adam: decay of the mean gradient, per step."""
    beta_2: Annotated[float, Interval(ge=0, lt=1)] = 0.999
    """Of Adam: decay of the mean squared gradient, per step."""


class Discriminator(nn.Module):
    """The logit of D(x | y)."""

    def __init__(self, shape: tuple[int, ...], channels: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.body = Body(shape, channels=channels, batchnorm=True, num_planes=num_classes)
        self.source = nn.Linear(self.body.num_features, 1).apply(initialise)

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        planes = F.one_hot(classes, self.num_classes).to(images.dtype)[:, :, None, None]
        planes = planes.expand(-1, -1, *images.shape[2:])
        logits: Tensor = self.source(self.body(torch.cat([images, planes], 1))).squeeze(1)
        return logits


class Cgan(Gan):
    """The pair."""

    def __init__(self, config: Config, num_classes: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels = config.channels
        self.generator = ConvolutionalGenerator(shape, channels=channels, num_classes=num_classes)
        self.critic = Discriminator(shape, channels, num_classes)

    def critic_losses(self, real: Tensor, labels: Tensor, draw: Draw) -> Losses:
        generated = self.generated_for_critic(draw)
        return {
            "real": is_real(self.critic(real, labels)),
            "generated": is_generated(self.critic(generated, draw.classes)),
        }

    def generator_losses(self, draw: Draw) -> Losses:
        return {"generator": is_real(self.critic(self.generated(draw), draw.classes))}


@GANS.register("cgan")
def cgan(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> Gan:
    return Cgan(config, num_classes, shape)
