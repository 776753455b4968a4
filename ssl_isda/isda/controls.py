"""What ISDA must beat to deserve its name, and shrunk covariances.

Each covariance is a ``ClassCovariance`` of full form that differs in one respect, so that a comparison
with ISDA tells what that respect is worth.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from ssl_isda.base.precision import full_precision
from ssl_isda.base.reduction import Reduction, reduced
from ssl_isda.base.shapes import Float, Int
from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.labels import NO_CLASS, row_shape, rows_of
from ssl_isda.isda.learned import Covariance


@final
class PermutedCovariance(ClassCovariance):
    """Sigma of another class: class c has the covariance of class c - 1, the first that of the last.

    Is it the class's own directions that help, or those of any class?
    """

    def update(
        self,
        features: Float[Tensor, "n a *pixels"],
        labels: Tensor,
        *,
        ignore_index: int = NO_CLASS,
        with_others: bool = False,
    ) -> None:
        known = (labels >= 0) & (labels < self.num_classes) & (labels != ignore_index)
        shifted = torch.where(known, (labels + 1) % self.num_classes, labels)
        super().update(features, shifted, ignore_index=ignore_index, with_others=with_others)


@final
class RotatedCovariance(ClassCovariance):
    """R Sigma_c R^T: the spectrum of each class, in directions that no feature varies along.

    R (``rotation``) is one random rotation of feature space for all classes, uniform, the same in every
    run of as many features. Do the directions help, or noise of that size in any direction?
    """

    rotation: Tensor

    def __init__(self, num_classes: int, num_features: int) -> None:
        super().__init__(num_classes, num_features)
        drawn = torch.randn(
            (num_features,) * 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64
        )
        q, r = torch.linalg.qr(drawn)
        uniform = q * r.diagonal().sign()  # QR alone prefers some rotations (Mezzadri, 2007)
        self.register_buffer("rotation", uniform.to(self.dtype))

    def multiply(self, directions: Float[Tensor, "d a"], c: int) -> Float[Tensor, "d a"]:
        return super().multiply(directions @ self.rotation, c) @ self.rotation.T

    def multiply_each(
        self, directions: Float[Tensor, "p d a"], classes: Int[Tensor, " p"]
    ) -> Float[Tensor, "p d a"]:
        turned = directions.to(torch.promote_types(directions.dtype, self.dtype))
        rotation = self.rotation.to(turned.dtype)
        return super().multiply_each(turned @ rotation, classes) @ rotation.T

    def draw(
        self, labels: Int[Tensor, " n"], num_samples: int, generator: torch.Generator
    ) -> Float[Tensor, "m n a"]:
        return super().draw(labels, num_samples, generator) @ self.rotation.T


@final
class ShrunkCovariance(ClassCovariance):
    r"""(1 - s) Sigma_c + s tr(Sigma_c) / a I: each covariance drawn towards a sphere of equal trace.

    The target of Ledoit and Wolf (2004), with a share s (``shrinkage``) that is given. Their estimate of
    the best s needs fourth moments about the final mean, which a stream of changing features does not
    have.
    """

    def __init__(self, num_classes: int, num_features: int, shrinkage: float) -> None:
        super().__init__(num_classes, num_features)
        self.shrinkage = shrinkage

    @torch.no_grad()
    def _sphere(self, classes: Tensor) -> Tensor:
        """s tr(Sigma_c) / a, (p,)."""
        traces = self.scatter[classes].diagonal(dim1=1, dim2=2).mean(1)
        return self.shrinkage * traces / self.count[classes].clamp(min=1)

    def multiply(self, directions: Float[Tensor, "d a"], c: int) -> Float[Tensor, "d a"]:
        sphere = self._sphere(torch.tensor([c], device=self.scatter.device))
        return (1 - self.shrinkage) * super().multiply(directions, c) + sphere * directions

    def multiply_each(
        self, directions: Float[Tensor, "p d a"], classes: Int[Tensor, " p"]
    ) -> Float[Tensor, "p d a"]:
        own = super().multiply_each(directions, classes)
        return (1 - self.shrinkage) * own + self._sphere(classes).view(-1, 1, 1) * directions

    def matrices(self, classes: Int[Tensor, " p"]) -> Float[Tensor, "p a a"]:
        sphere = self._sphere(classes).view(-1, 1, 1)
        identity = torch.eye(self.num_features, dtype=self.dtype, device=sphere.device)
        return (1 - self.shrinkage) * super().matrices(classes) + sphere * identity

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, shrinkage={self.shrinkage}"


@full_precision
def entropy_minimization(
    logits: Float[Tensor, "n c *pixels"],
    weight: Float[Tensor, "c a *ones"],
    covariance: Covariance,
    strength: float | Tensor,
    *,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    """H(p), p = softmax(z), mean over the n rows: it may stand in the place of Prop. 2.

    Unlike in the closed forms p is not constant: the gradient makes predictions more certain.

    Source: Grandvalet and Bengio, Semi-supervised Learning by Entropy Minimization, NeurIPS 2004.
    """
    each = torch.special.entr(rows_of(logits).softmax(1)).sum(1)
    return reduced(each.view(row_shape(logits)), reduction)
