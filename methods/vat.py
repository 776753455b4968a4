"""Virtual adversarial training (VAT): the prediction should not change under a small worst-case
perturbation of the image.

Miyato et al., Virtual Adversarial Training: A Regularization Method for Supervised and
Semi-Supervised Learning, TPAMI 2018, arXiv:1704.03976.

    L_reg = 1/U sum_u KL( p(x) || p(x + r) ) + w_H 1/U sum_u H(p(x)),      eta_2(t) = w
    r = epsilon g / ||g||,   g = grad_d KL( p(x) || p(x + xi d) ),   d ~ N(0, I) / ||.||   (Eqs. 5-15)

| symbol | here | meaning |
| --- | --- | --- |
| p(x) | ``clean`` after softmax | clean prediction; a constant in the KL |
| epsilon | ``epsilon`` | norm of the perturbation, in units of prepared pixels |
| xi | ``xi`` | step of the finite difference |
| K | ``num_power_iterations`` | refinements of d |
| w_H | ``entropy_weight`` | 0: VAT; 1: VAT + EntMin |

Means run over images; norms over all pixels of an image. One view, without input noise. All passes
over the unlabeled images draw the same dropout masks.

What BatchNorm sees: the labeled images alone update the running statistics; each pass over unlabeled
images uses its own batch statistics.

Precision: the direction comes from a small difference of two predictions, which rounding must not
hide. In fp32 the paper's xi = 1e-6 is lost (cosine 0.01 to the true direction); 1e-2 gives it to 0.99
and better. A GPU convolves fp32 as TF32, with 10 bits after the binary point, unless told otherwise:
there 1e-2 is lost as well (cosine 0 to 0.5), and 0.2 gives it to about 0.95. bf16 has 7 bits, rounds in
proportion to what it rounds, and takes epsilon / 4, in the same proportion: cosine 0.84 to 0.93 on
trained networks (0.65 on untrained ones), and a perturbation as adversarial as the exact one, with 0.98
to 1.11 times its KL. Where the gradient is zero (saturated logits) r is zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor, nn

from ssl_isda.losses.consistency import entropy, softmax_kl
from ssl_isda.training.method import (
    METHODS,
    Batch,
    Interval,
    Method,
    Network,
    Prediction,
    Step,
    part,
    separate_pass,
    whole,
)


@dataclass(frozen=True)
class Config:
    """The paper's settings for CIFAR-10 with augmentation; SVHN takes an epsilon of 3.5."""

    consistency_weight: Annotated[float, Interval(ge=0)] = 1.0
    """w: weight of the whole term, without ramp-up."""
    epsilon: Annotated[float, Interval(gt=0)] = 8.0
    """Norm of the adversarial perturbation, in units of prepared pixels."""
    xi: Annotated[float, Interval(gt=0)] | None = None
    """Step of the finite difference; by default epsilon / 4 in bf16, 1e-2 in fp32, 0.2 in a GPU's TF32,
    and the paper's 1e-6 in float64."""
    num_power_iterations: Annotated[int, Interval(ge=0)] = 1
    """K: how often the direction is refined."""
    entropy_weight: Annotated[float, Interval(ge=0)] = 0.0
    """w_H: weight of the entropy of clean predictions (1 for VAT + EntMin)."""


@METHODS.register("vat")
@final
class VAT(Method):
    """KL between clean and adversarial predictions; no state."""

    joined = 0
    needs_images = "perturbs each image along the network's gradient"

    def __init__(
        self, config: Config, *, student: Network, num_images: int, num_classes: int
    ) -> None:
        super().__init__()
        self.config = config
        self.needs_gradient = config.entropy_weight != 0

    def weight(self, step: Step) -> float:
        return self.config.consistency_weight

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> Tensor:
        images, clean = batch.views[0], views[0].logits.detach()
        perturbation = self.adversarial_perturbation(student, images, clean, step)
        adversarial = separate_pass(student, images + perturbation, step)
        loss: Tensor = softmax_kl(clean, adversarial.logits)
        if self.config.entropy_weight:
            loss = loss + self.config.entropy_weight * entropy(views[0].logits)
        return loss

    def adversarial_perturbation(
        self, student: Network, images: Tensor, clean: Tensor, step: Step
    ) -> Tensor:
        """r_vadv for each image, of norm epsilon; (U, channels, height, width), a constant.

        ``clean`` are the logits of ``images`` from a pass with the same masks and precision.
        """
        xi = self.config.xi
        if xi is None:
            xi = default_xi(images, self.config.epsilon)
        generator = step.generator("vat direction", images.device)
        noise = torch.randn(whole(images.shape), generator=generator, device=images.device)
        direction = _unit(part(noise).to(images))
        with _constant(student):
            for _ in range(self.config.num_power_iterations):
                offset = (xi * direction).requires_grad_()
                moved = separate_pass(student, images + offset, step)
                divergence = softmax_kl(clean, moved.logits)
                (gradient,) = torch.autograd.grad(divergence, offset)
                direction = _unit(gradient)
        return self.config.epsilon * direction


@contextmanager
def _constant(network: nn.Module) -> Iterator[None]:
    """Within the block no gradient goes to the parameters: compiled passes would compute it unasked."""
    trained = [p for p in network.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_()


def default_xi(images: Tensor, epsilon: float) -> float:
    """A xi whose effect stands out from the rounding of a pass over ``images``: see Precision, above."""
    if images.dtype == torch.float64:
        return 1e-6
    if torch.is_autocast_enabled(images.device.type):
        return epsilon / 4
    return 0.2 if images.is_cuda else 1e-2


def _unit(x: Tensor) -> Tensor:
    """Each image divided by its norm, by way of its largest value, since a gradient may be tiny."""
    flat = x.flatten(1)
    smallest: float = torch.finfo(x.dtype).tiny
    scaled = flat / (flat.abs().amax(1, keepdim=True) + smallest)
    norm: Tensor = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    return (scaled / norm.clamp(min=1e-12)).view_as(x)
