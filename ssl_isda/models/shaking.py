"""Branches that are weighed at random, and otherwise on the way back than on the way forth.

All numbers are drawn in the forward pass from torch's global generator, as dropout's are, each image's
for itself: a pass whose generator starts at a key is the same pass again, on any number of processes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssl_isda.parallel.whole_batch import uniform_for_each_image as uniform


class _Weighed(torch.autograd.Function):
    """y = a x, whose gradient with respect to x is taken to be b."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(b)
        return maps * a

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (b,) = ctx.saved_tensors
        return grads[0] * b, None, None


def weighed(maps: Tensor, forth: Tensor, back: Tensor) -> Tensor:
    """``forth`` times maps, (n, c, h, w); gradients are multiplied by ``back`` instead. Both weights
    are (n, 1, 1, 1) or single numbers, and constants."""
    weighed: Tensor = _Weighed.apply(maps, forth, back)
    return weighed


class ShakeShake(nn.Module):
    r"""The sum of two branches, weighed at random.

    .. math:: y_i = \alpha_i u_i + (1 - \alpha_i) v_i, \qquad
        \bar u_i = \beta_i \bar y_i, \quad \bar v_i = (1 - \beta_i) \bar y_i

    for image i, with bars for gradients and alpha, beta ~ U(0, 1) independent of each other
    ("Shake-Shake-Image"). In evaluation mode (u + v) / 2, the expectation.

    Source: Gastaldi, Shake-Shake regularization, ICLR 2017 workshop, arXiv:1705.07485, Sec. 2.
    """

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Two (n, c, h, w) to one."""
        if not self.training:
            return (u + v) / 2
        alpha, beta = uniform(u), uniform(u)
        return weighed(u, alpha, beta) + weighed(v, 1 - alpha, 1 - beta)


class ShakeDrop(nn.Module):
    r"""A branch that is disturbed with probability p.

    .. math:: y_i = (b + (1 - b) \alpha_i) x_i, \qquad
        \bar x_i = (b + (1 - b) \beta_i) \bar y_i

    with one b ~ Bernoulli(1 - p) for the pass, alpha_i ~ U(-1, 1) and beta_i ~ U(0, 1) for image i. In
    evaluation mode (1 - p) x, the expectation.

    Parameters
    ----------
    probability : p

    Source: Yamada et al., ShakeDrop Regularization, IEEE Access 2019, arXiv:1802.02375, Eq. 6.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, maps: Tensor) -> Tensor:
        """(n, c, h, w) to the same shape."""
        if not self.training:
            return maps * (1 - self.probability)
        is_kept = torch.rand((), device=maps.device) >= self.probability
        alpha, beta = 2 * uniform(maps) - 1, uniform(maps)
        return weighed(maps, alpha.masked_fill(is_kept, 1), beta.masked_fill(is_kept, 1))
