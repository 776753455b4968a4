"""GAN with an auxiliary classifier: the discriminator is not told the class, it names it.

Odena, Olah & Shlens, Conditional image synthesis with auxiliary classifier GANs, ICML 2017,
arXiv:1610.09585, Eqs. 2 and 3:

    L_S = E log P(S = real | x) + E log P(S = generated | G(z, y))
    L_C = E log P(C = y | x) + E log P(C = y | G(z, y))

The discriminator maximises L_S + L_C, the generator L_C - L_S, here in the form that does not saturate:
it maximises log P(S = real | G(z, y)).

Differs from the paper: the networks of DCGAN, without dropout in the discriminator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from ssl_isda.base.options import Interval
from ssl_isda.generators.contract import GANS, Draw, Gan, Losses
from ssl_isda.generators.discriminators import NamingDiscriminator, is_generated, is_real
from ssl_isda.generators.networks import ConvolutionalGenerator


@dataclass(frozen=True)
class Config:
    """Those of the paper."""

    channels: Annotated[int, Interval(ge=1)] = 64
    """Of the largest maps; each halving of the side doubles them."""
    learning_rate: Annotated[float, Interval(gt=0)] = 2e-4
    """Of Adam, for both."""
    beta_1: Annotated[float, Interval(ge=0, lt=1)] = 0.5
    """Of Adam: decay of the mean gradient, per step."""
    beta_2: Annotated[float, Interval(ge=0, lt=1)] = 0.999
    """Of Adam: decay of the mean squared gradient, per step."""


class Acgan(Gan):
    """The pair."""

    def __init__(self, config: Config, num_classes: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels = config.channels
        self.generator = ConvolutionalGenerator(shape, channels=channels, num_classes=num_classes)
        self.critic = NamingDiscriminator(shape, channels, num_classes)

    def critic_losses(self, real: Tensor, labels: Tensor, draw: Draw) -> Losses:
        source, classes, _ = self.critic(real)
        source_of_generated, classes_of_generated, _ = self.critic(self.generated_for_critic(draw))
        return {
            "real": is_real(source),
            "generated": is_generated(source_of_generated),
            "class_of_real": F.cross_entropy(classes, labels),
            "class_of_generated": F.cross_entropy(classes_of_generated, draw.classes),
        }

    def generator_losses(self, draw: Draw) -> Losses:
        source, classes, _ = self.critic(self.generated(draw))
        return {"generator": is_real(source), "class": F.cross_entropy(classes, draw.classes)}


@GANS.register("acgan")
def acgan(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> Gan:
    return Acgan(config, num_classes, shape)
