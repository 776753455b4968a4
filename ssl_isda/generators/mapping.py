r"""From features back to pixels: the reverse mapping of ISDA, Appendix E.

With a generator G as the prior of images, a fixed network f, and z made standard by its own numbers,
z^ = (z - mean z) / std z:

    step I    z_i  = argmin  ||f(G(z^)) - a_i||^2 + eta ||G(z^) - x_i||^2                    (Eq. 20)
    step II   z'_i = argmin  ||f(G(z^')) - a~_i||^2,  from z_i on                            (Eq. 21)

by gradient descent with momentum 0.9 and weight decay 1e-4, the rate falling tenfold after every quarter
of the iterations. Squared norms are divided by the number of features, or of pixels, so that rates and
eta mean the same for a network of another width. Pixels of G and of x_i are both from -1 to 1.

Every image is a descent of its own: all of a batch take the same path as each alone.

Source: Wang et al., Regularizing Deep Networks with Semantic Data Augmentation, TPAMI 2021, Appendix E.

Shape key: n images, d numbers of z, a features, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_isda.generators.contract import Generator

MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4
NUM_STAGES = 4
"""Stretches of the iterations, each with a tenth of the rate of the one before."""

See = Callable[[Tensor], Tensor]
"""Images (n, C, H, W) from -1 to 1 to features (n, a), image by image: a network in evaluation mode."""


@dataclass(frozen=True)
class Descent:
    """How a step descends; the paper has rates 10 and 1 for its two steps."""

    rate: float
    iterations: int = 10_000

    def rate_at(self, iteration: int) -> float:
        """Of 10,000 iterations: a tenth from 2,500 on, a hundredth from 5,000 on, and so on."""
        stage: int = NUM_STAGES * iteration // self.iterations
        return float(self.rate * 0.1**stage)


class Target(NamedTuple):
    """What images are to become.

    features : (n, a)
    classes : (n,), for a generator that knows classes
    images : (n, C, H, W) of step I; None: no pixel term
    eta : weight of the pixel term
    """

    features: Tensor
    classes: Tensor
    images: Tensor | None = None
    eta: float = 0.0


class Regained(NamedTuple):
    """What a descent ended with: z (n, d), the images (n, C, H, W), their features (n, a), and the mean
    squared errors of features (n,) before and after."""

    z: Tensor
    images: Tensor
    features: Tensor
    before: Tensor
    after: Tensor


def regain(
    generator: Generator,
    see: See,
    target: Target,
    start: Tensor,
    descent: Descent,
    advance: Callable[[], object] = lambda: None,
) -> Regained:
    """One step of the mapping, for all images at once.

    Parameters
    ----------
    generator : in evaluation mode, so that images do not depend on each other
    start : z (n, d), which stays as it is
    advance : called after each iteration
    """
    z, velocity = start.detach().clone(), torch.zeros_like(start)
    before = _feature_errors(see(_images(generator, z, target)), target)
    for iteration in range(descent.iterations):
        gradient = _gradient(generator, see, target, z)
        velocity.mul_(MOMENTUM).add_(gradient.add_(z, alpha=WEIGHT_DECAY))
        z.sub_(velocity, alpha=descent.rate_at(iteration))
        advance()
    images = _images(generator, z, target)
    features = see(images).detach()
    return Regained(z, images, features, before, _feature_errors(features, target))


def normalised(z: Tensor, num_noise: int) -> Tensor:
    """Each row's noise to mean 0 and standard deviation 1, divided by d - 1; its code kept in [-1, 1]."""
    noise, code = z[:, :num_noise], z[:, num_noise:]
    std, mean = torch.std_mean(noise, dim=1, keepdim=True)
    return torch.cat([(noise - mean) / std, code.clamp(-1, 1)], 1)


def _gradient(generator: Generator, see: See, target: Target, z: Tensor) -> Tensor:
    """Of the sum over images, so that each row is that of its own image."""
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        images = generator(normalised(z, generator.num_noise), target.classes)
        losses = (see(images) - target.features).square().mean(1)
        if target.images is not None:
            losses = losses + target.eta * (images - target.images).square().flatten(1).mean(1)
        (gradient,) = torch.autograd.grad(losses.sum(), z)
    return gradient


@torch.no_grad()
def _images(generator: Generator, z: Tensor, target: Target) -> Tensor:
    images: Tensor = generator(normalised(z, generator.num_noise), target.classes)
    return images


def _feature_errors(features: Tensor, target: Target) -> Tensor:
    return (features - target.features).square().mean(1).detach()
