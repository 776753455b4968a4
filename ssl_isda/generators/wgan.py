"""Wasserstein GAN with gradient penalty.

Arjovsky, Chintala & Bottou, Wasserstein GAN, ICML 2017, arXiv:1701.07875; the penalty is that of
Gulrajani et al., Improved training of Wasserstein GANs, NeurIPS 2017, arXiv:1704.00028:

    critic:     mean D(G(z)) - mean D(x) + penalty * mean (||grad_x D(x^)||_2 - 1)^2
    generator:  -mean D(G(z))

The first paper bounds the critic's slope by clipping its weights to [-0.01, 0.01]. That bound depends on
depth and width, pushes weights to its ends, and so leaves a critic of simple functions; the penalty
states the slope itself and has one setting for all networks. So the penalty is what is built. It allows
no BatchNorm in the critic, whose score would be of the batch and no longer of one image.

Differs from the paper of ISDA: nothing is said there of the networks; those of DCGAN are taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.generators.contract import GANS, Draw, Gan, Losses
from ssl_isda.generators.gradient_penalty import gradient_penalty
from ssl_isda.generators.networks import (
    Body,
    ClassGenerators,
    ConvolutionalGenerator,
    by_class,
    initialise,
)


@dataclass(frozen=True)
class Config:
    """The settings of Gulrajani et al."""

    penalty: Annotated[float, Interval(ge=0)] = 10.0
    """Weight of the gradient penalty."""
    critic_steps: Annotated[int, Interval(ge=1)] = 5
    """Steps of the critic for each of the generator."""
    each_class: bool = False
    """Train a generator and a critic for each class, on the images of that class."""
    channels: Annotated[int, Interval(ge=1)] = 64
    """Of the largest maps; each halving of the side doubles them."""
    learning_rate: Annotated[float, Interval(gt=0)] = 1e-4
    """Of Adam, for both."""
    beta_1: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Of Adam: decay of the mean gradient, per step."""
    beta_2: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    """Of Adam: decay of the mean squared gradient, per step."""


class Critic(nn.Module):
    """A score of each image, without a bias, which no loss would see."""

    def __init__(self, shape: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.body = Body(shape, channels=channels, batchnorm=False)
        self.score = nn.Linear(self.body.num_features, 1, bias=False).apply(initialise)

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        scores: Tensor = self.score(self.body(images)).squeeze(1)
        return scores


class ClassCritics(nn.Module):
    """One critic for each class."""

    def __init__(self, critics: list[Critic]) -> None:
        super().__init__()
        self.of = nn.ModuleList(critics)

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        return by_class(self.of, classes, images)


class Wgan(Gan):
    """The pair, or a pair for each class."""

    def __init__(self, config: Config, num_classes: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.critic_steps, self.penalty = config.critic_steps, config.penalty
        self.each_class, channels = config.each_class, config.channels
        if config.each_class:
            pairs = [
                (ConvolutionalGenerator(shape, channels=channels), Critic(shape, channels))
                for _ in range(num_classes)
            ]
            self.generator = ClassGenerators([generator for generator, _ in pairs])
            self.critic = ClassCritics([critic for _, critic in pairs])
        else:
            self.generator = ConvolutionalGenerator(shape, channels=channels)
            self.critic = Critic(shape, channels)

    def critic_losses(self, real: Tensor, labels: Tensor, draw: Draw) -> Losses:
        generated = self.generated_for_critic(draw)
        difference = self.critic(generated, draw.classes).mean() - self.critic(real, labels).mean()
        penalty = gradient_penalty(
            lambda images: self.critic(images, labels), real, generated, draw.mixture
        )
        return {"critic": difference, "penalty": self.penalty * penalty}

    def generator_losses(self, draw: Draw) -> Losses:
        return {"generator": -self.critic(self.generated(draw), draw.classes).mean()}


@GANS.register("wgan")
def wgan(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> Gan:
    return Wgan(config, num_classes, shape)
