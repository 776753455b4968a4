"""What keeps a critic close to slope 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, generated: Tensor, mixture: Tensor
) -> Tensor:
    r"""mean over i of (||grad_x D(x_i)||_2 - 1)^2 at x_i = u_i real_i + (1 - u_i) generated_i.

    The norm is over all pixels of an image. The result has a gradient with respect to the critic's
    parameters, through the gradient in x.

    Parameters
    ----------
    critic : (n, C, H, W) to (n,), each score of its own image alone: no BatchNorm
    real, generated : (n, C, H, W), of which neither gets a gradient
    mixture : u, (n, 1, 1, 1), uniform from 0 to 1

    Source: Gulrajani et al., Improved training of Wasserstein GANs, NeurIPS 2017, Eq. 3.
    """
    between = torch.lerp(generated.detach(), real, mixture).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty
