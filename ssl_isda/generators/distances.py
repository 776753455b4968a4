"""How far generated images are from real ones, in the features of a network.

Shape key: n and m images, a features. Of few images both are too large for the Frechet distance and
unbiased for the kernel distance.
"""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(first: Tensor, second: Tensor) -> float:
    r"""||m_1 - m_2||^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^{1/2}) of the features (n, a) and (m, a), in float64.

    Means and unbiased covariances are those of two normal distributions, whose squared Wasserstein-2
    distance this is. With Inception's features it is the FID; in any other features it is another number.

    Source: Heusel et al., NeurIPS 2017, Eq. 6.
    """
    first, second = first.double(), second.double()
    shift = (first.mean(0) - second.mean(0)).square().sum()
    covariances = [torch.atleast_2d(torch.cov(each.T)) for each in (first, second)]
    root = _root(covariances[0])
    mixed = torch.linalg.eigvalsh(root @ covariances[1] @ root).clamp(min=0).sqrt().sum()
    return float(shift + covariances[0].trace() + covariances[1].trace() - 2 * mixed)


def kernel_distance(first: Tensor, second: Tensor) -> float:
    r"""The unbiased squared maximum mean discrepancy with k(x, y) = (x y / a + 1)^3, in float64.

    With Inception's features it is the KID.

    Source: Binkowski et al., Demystifying MMD GANs, ICLR 2018, Sec. 4.
    """
    first, second = first.double(), second.double()
    n, m, a = len(first), len(second), first.shape[1]
    within_first, within_second, across = (
        (x @ y.T / a + 1) ** 3 for x, y in ((first, first), (second, second), (first, second))
    )
    of_first = (within_first.sum() - within_first.trace()) / (n * (n - 1))
    of_second = (within_second.sum() - within_second.trace()) / (m * (m - 1))
    return float(of_first + of_second - 2 * across.mean())


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return root
