"""What draws from N(0, Sigma_c) are made of.

Shape key: n images, a features, p classes that are in use, m draws.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_isda.base.shapes import Float, Int


def correlated(
    noise: Float[Tensor, "m n a"], roots: Float[Tensor, "p a a"], positions: Int[Tensor, " n"]
) -> Float[Tensor, "m n a"]:
    """``roots[positions[i]] @ noise[k, i]`` for each draw k of each image i.

    Class by class, in fixed shapes: no (n, a, a) tensor, and nothing waits for the device.
    """
    out = torch.zeros_like(noise)
    for i, root in enumerate(roots):
        out = torch.where((positions == i).view(1, -1, 1), noise @ root.T, out)
    return out


def root(sigma: Float[Tensor, "p a a"]) -> Float[Tensor, "p a a"]:
    """L with L L^T = Sigma, to a millionth of its mean variance, or a thousandth where it must be.

    An estimate from few samples is singular, and rounding may take it below zero: a small multiple
    of I makes it definite. Eigenvectors would do without, at the price of a wait for the device.
    """
    exact = sigma.double()
    variance = exact.diagonal(dim1=1, dim2=2)
    root = torch.diag_embed(variance.clamp(min=0).sqrt())  # of a class that was never seen: 0
    for share in (1e-3, 1e-6):
        raised = exact + torch.diag_embed((share * variance.mean(1, True)).expand_as(variance))
        factor, failed = torch.linalg.cholesky_ex(raised)
        root = torch.where(failed.view(-1, 1, 1) == 0, factor, root)
    return root.to(sigma.dtype)
