"""infoGAN: images keep information about a code that the generator was given beside noise and class.

Chen et al., InfoGAN: interpretable representation learning by information maximizing generative
adversarial nets, NeurIPS 2016, arXiv:1606.03657, Eqs. 5 and 6, with Q the code's posterior as a network
on top of the discriminator:

    min over G, Q  max over D   V(D, G) - code_weight * E log Q(c | G(z, c))

The code is two numbers from -1 to 1, as ISDA's Appendix C has it; Q is a normal distribution of variance
1/2 about what the network says, so that -log Q is the squared distance but for a constant.

Differs from the paper: its categorical code is the class, which Q also learns on labeled real images;
without them a category would be no class, and Table 5 needs images of given classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from ssl_isda.base.options import Interval
from ssl_isda.generators.contract import GANS, NUM_NOISE, Draw, Gan, Losses
from ssl_isda.generators.discriminators import NamingDiscriminator, is_generated, is_real
from ssl_isda.generators.networks import ConvolutionalGenerator

NUM_CODE = 2


@dataclass(frozen=True)
class Config:
    """Adam's settings are those of DCGAN."""

    code_weight: Annotated[float, Interval(ge=0)] = 0.1
    """Weight of the code's squared distance."""
    channels: Annotated[int, Interval(ge=1)] = 64
    """Of the largest maps; each halving of the side doubles them."""
    learning_rate: Annotated[float, Interval(gt=0)] = 2e-4
    """Of Adam, for both."""
    beta_1: Annotated[float, Interval(ge=0, lt=1)] = 0.5
    """Of Adam: decay of the mean gradient, per step."""
    beta_2: Annotated[float, Interval(ge=0, lt=1)] = 0.999
    """Of Adam: decay of the mean squared gradient, per step."""


class InfoGan(Gan):
    """The pair; Q is part of the critic, and both train it."""

    def __init__(self, config: Config, num_classes: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.code_weight, channels = config.code_weight, config.channels
        self.generator = ConvolutionalGenerator(
            shape, channels=channels, num_classes=num_classes, num_code=NUM_CODE
        )
        self.critic = NamingDiscriminator(shape, channels, num_classes, NUM_CODE)

    def critic_losses(self, real: Tensor, labels: Tensor, draw: Draw) -> Losses:
        source, classes, _ = self.critic(real)
        source_of_generated, classes_of_generated, code = self.critic(
            self.generated_for_critic(draw)
        )
        return {
            "real": is_real(source),
            "generated": is_generated(source_of_generated),
            "class_of_real": F.cross_entropy(classes, labels),
            "class_of_generated": F.cross_entropy(classes_of_generated, draw.classes),
            "code_of_generated": self._distance(code, draw),
        }

    def generator_losses(self, draw: Draw) -> Losses:
        source, classes, code = self.critic(self.generated(draw))
        return {
            "generator": is_real(source),
            "class": F.cross_entropy(classes, draw.classes),
            "code": self._distance(code, draw),
        }

    def _distance(self, code: Tensor, draw: Draw) -> Tensor:
        squares = (code - draw.z[:, NUM_NOISE:]).square().sum(1)
        return self.code_weight * squares.mean()


@GANS.register("infogan")
def infogan(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> Gan:
    return InfoGan(config, num_classes, shape)
