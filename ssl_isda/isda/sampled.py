"""What the propositions bound: losses over explicit draws of augmented features (Eq. 5).

Features are (n, a), or (n, a, h, w), whose pixels are rows. Labels may be mixtures of classes, as in
``ssl_isda.isda.propositions.isda_cross_entropy``; each class of one then draws its own noise.

Shape key: n images, a features, c classes, m draws.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_isda.base.precision import full_precision
from ssl_isda.base.reduction import Reduction, reduced
from ssl_isda.base.shapes import Float
from ssl_isda.isda.cross_entropy import (
    Target,
    cross_entropy,
    shares_of,
    target_of,
)
from ssl_isda.isda.labels import NO_CLASS, row_shape, rows_of
from ssl_isda.isda.learned import Covariance


@full_precision
def sampled_isda_cross_entropy(
    features: Float[Tensor, "n a *pixels"],
    labels: Tensor,
    weight: Float[Tensor, "c a *ones"],
    bias: Float[Tensor, " c"] | None,
    covariance: Covariance,
    strength: float | Tensor,
    *,
    num_samples: int,
    generator: torch.Generator,
    class_weight: Float[Tensor, " c"] | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = NO_CLASS,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    """What Prop. 1 bounds: cross-entropy of ``num_samples`` explicit draws a~ ~ N(a, lambda Sigma_y).

    Mean over draws and rows (Eq. 5, "explicit" in Fig. 10). Unbiased for the expectation. The options
    are those of ``isda_cross_entropy``; "sum" and "none" are means over the draws all the same.
    """
    target = target_of(labels, row_shape(features), covariance.num_classes, ignore_index)
    draws = _draws(features, target, weight, bias, covariance, strength, num_samples, generator)
    loss = cross_entropy(
        *(draws.flatten(0, 1), None, target.repeated(num_samples)),
        *(class_weight, label_smoothing, reduction),
    )
    if reduction == "mean":
        return loss
    if reduction == "sum":
        return loss / num_samples
    return loss.view(num_samples, *row_shape(features)).mean(0)


@full_precision
def sampled_semantic_consistency(
    features: Float[Tensor, "n a *pixels"],
    weight: Float[Tensor, "c a *ones"],
    bias: Float[Tensor, " c"] | None,
    covariance: Covariance,
    strength: float | Tensor,
    *,
    num_samples: int,
    generator: torch.Generator,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    """What Prop. 2 bounds (Eq. 14): cross-entropy of p with the predictions of explicit draws.

    Mean over draws and rows, 0 without a row; p, the prediction of the feature itself, is held constant.
    """
    rows = rows_of(features)
    probabilities = F.linear(rows, weight.flatten(1), bias).detach().softmax(1)
    labels = probabilities.argmax(1)
    draws = sampled_logits(
        *(rows, labels, weight, bias, covariance, strength, num_samples, generator)
    )
    each = -(probabilities * draws.log_softmax(2)).sum(2)  # (m, n)
    if reduction == "mean":
        return reduced(each, reduction)
    return reduced(each.mean(0).view(row_shape(features)), reduction)


@full_precision
def sampled_logits(
    features: Float[Tensor, "n a"],
    labels: Tensor,
    weight: Float[Tensor, "c a *ones"],
    bias: Float[Tensor, " c"] | None,
    covariance: Covariance,
    strength: float | Tensor,
    num_samples: int,
    generator: torch.Generator,
) -> Float[Tensor, "m n c"]:
    """Of ``num_samples`` explicit draws a~ ~ N(a, lambda Sigma_y) for each row."""
    target = target_of(labels, row_shape(features), covariance.num_classes, NO_CLASS)
    return _draws(features, target, weight, bias, covariance, strength, num_samples, generator)


@full_precision
def moved_logits(
    logits: Float[Tensor, "n c"],
    labels: Tensor,
    weight: Float[Tensor, "c a *ones"],
    covariance: Covariance,
    strength: float | Tensor,
    num_samples: int,
    generator: torch.Generator,
) -> Float[Tensor, "m n c"]:
    """z + sqrt(lambda) W eps, eps ~ N(0, Sigma_y): what ``sampled_logits`` are where the features are not
    at hand. Labels are those of ``draw``."""
    noise = draw(covariance, labels, num_samples, generator)  # (m, n, a)
    return logits + strength**0.5 * noise @ weight.flatten(1).T


def _draws(
    features: Tensor,
    target: Target,
    weight: Tensor,
    bias: Tensor | None,
    covariance: Covariance,
    strength: float | Tensor,
    num_samples: int,
    generator: torch.Generator,
) -> Tensor:
    """(m, rows, c)."""
    labels = target.values if target.classes is None else target.classes.number
    noise = draw(covariance, labels, num_samples, generator)  # (m, n, a)
    draws = F.linear(rows_of(features) + strength**0.5 * noise, weight.flatten(1), bias)
    if target.classes is None or target.classes.outside is None:
        return draws
    return draws.where(~target.classes.outside.view(1, -1, 1), torch.nan)


def draw(
    covariance: Covariance, labels: Tensor, num_samples: int, generator: torch.Generator
) -> Tensor:
    """Draws from N(0, Sigma_y) for classes y, (n,); for mixtures y, (n, c), of sum_k y_k e_k with e_k
    from N(0, Sigma_k)."""
    if labels.ndim == 1:
        return covariance.draw(labels, num_samples, generator)
    noise = torch.zeros((), device=labels.device)
    for k, share in enumerate(shares_of(labels).unbind(1)):
        of_one = torch.full_like(share, k, dtype=torch.int64)
        drawn = covariance.draw(of_one, num_samples, generator)
        noise = noise + share.view(1, -1, 1) * drawn
    return noise
