"""Class covariances learned by gradient descent: the paper's baseline in Fig. 10.

Shape key: n images, a features, c classes, p classes in use, m draws.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from ssl_isda.base.shapes import Float, Int
from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.draws import correlated
from ssl_isda.isda.labels import NO_CLASS, check_rows, classes_in_use, look_at
from ssl_isda.isda.wide_state import WideState, wide_dtype
from ssl_isda.parallel.distributed import part, whole


@final
class LearnedCovariance(WideState):
    r"""Sigma_c = D_c D_c^T, one free matrix D_c of the size of Sigma_c for each class (Sec. 6.5.3).

    It stands where a ``ClassCovariance`` stands and estimates nothing: D (``root``) is a parameter
    that begins at the identity. Draws are reparameterised, a~ = a + sqrt(lambda) D_y eps with eps ~
    N(0, I), so that they carry a gradient to D; so do the closed forms, by way of W D_c.

    Each loss falls as D shrinks. Against the collapse to zero stands ``uncertainty_loss``.

    Differs from DistributionNet, which has a network predict the standard deviations of each image
    from its feature: the paper learns the covariances of the classes instead, in full, and takes
    over the sampling and the uncertainty loss.

    Raises
    ------
    ValueError
        Fewer than 1 class or feature.

    Source: Wang et al., Regularizing Deep Networks with Semantic Data Augmentation, TPAMI 2021.
    """

    def __init__(self, num_classes: int, num_features: int) -> None:
        super().__init__()
        if num_classes < 1 or num_features < 1:
            raise ValueError(
                f"at least 1 class and 1 feature are needed; got {num_classes} and {num_features}"
            )
        self.num_classes, self.num_features = num_classes, num_features
        identity = torch.eye(num_features, dtype=wide_dtype())
        self.root = nn.Parameter(identity.repeat(num_classes, 1, 1))

    @property
    def dtype(self) -> torch.dtype:
        """Of the matrices."""
        return self.root.dtype

    def update(
        self,
        features: Float[Tensor, "n a *pixels"],
        labels: Tensor,
        *,
        ignore_index: int = NO_CLASS,
        with_others: bool = False,
    ) -> None:
        """Nothing: no statistic of the features is kept. Refuses what ``ClassCovariance`` refuses."""
        check_rows(features, labels, num_classes=self.num_classes, num_features=self.num_features)
        look_at(labels.flatten().long(), self.num_classes, ignore_index)

    @torch.no_grad()
    def matrix(self, c: int) -> Float[Tensor, "a a"]:
        """Sigma_c = D_c D_c^T: to look at."""
        return self.root[c] @ self.root[c].T

    def spread(
        self, weight: Float[Tensor, "c a"], classes: Int[Tensor, " p"]
    ) -> Float[Tensor, "p c a"]:
        """W D_c for each class asked for, so that W Sigma_c W^T is its product with itself."""
        dtype = torch.promote_types(weight.dtype, self.dtype)
        return weight.to(dtype) @ self.root[classes].to(dtype)

    def draw(
        self, labels: Int[Tensor, " n"], num_samples: int, generator: torch.Generator
    ) -> Float[Tensor, "m n a"]:
        """For each label, ``num_samples`` draws D_label eps, differentiable by D."""
        shape = (num_samples, len(labels), self.num_features)
        classes, positions = classes_in_use(labels, self.num_classes)
        drawn = torch.randn(
            whole(shape, 1), generator=generator, dtype=self.root.dtype, device=generator.device
        )
        noise = part(drawn, 1).to(self.root.device)
        return correlated(noise, self.root[classes], positions)

    def uncertainty_loss(self) -> Float[Tensor, ""]:
        r"""Feature-uncertainty loss: the augmentation may not lose entropy.

        .. math:: \max\Big(0,\; \gamma - \frac1C \sum_c \frac1A H(N(0, \Sigma_c))\Big), \qquad
            \frac1A H(N(0, \Sigma_c)) = \tfrac12 \log 2 \pi e + \tfrac1A \log |\det D_c|

        in nats a feature; mean over classes. The margin gamma is the entropy of N(0, I), where D
        begins: any other one stands for another lambda_0, which scales Sigma as well.

        Source: Yu et al., Robust Person Re-Identification by Modelling Feature Uncertainty, ICCV
        2019, whose sums over images and features are means here.
        """
        log_volume = torch.linalg.slogdet(self.root).logabsdet / self.num_features
        return torch.relu(-log_volume.mean())  # (1/2) log 2 pi e stands in gamma too

    def extra_repr(self) -> str:
        return f"classes={self.num_classes}, features={self.num_features}"


Covariance = ClassCovariance | LearnedCovariance
"""Where the losses take Sigma from: estimated or learned."""
