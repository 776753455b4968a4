r"""The two propositions of ISDA as pure functions, their sampled versions, and two consistency losses.

Notation: a linear head with rows w_1..w_C and biases b; z = W a + b are the logits of feature a;
Sigma_c is the covariance of class c; lambda (``strength``) scales the augmentation a~ ~ N(a, lambda
Sigma). Both propositions read one table per class,

    q_c[j, k] = (w_j - w_k)^T Sigma_c (w_j - w_k).

Shape key: n images, a features, c classes, p classes in use, m draws.

Precision: everything here runs in fp32 (or float64) outside autocast: from bf16 inputs q is wrong by
1 %. Gradients: into W through q, into features through the logits; none into Sigma, none through p.

Source: Wang et al., Regularizing Deep Networks with Semantic Data Augmentation, TPAMI 2021.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_isda.covariance import ClassCovariance
from ssl_isda.shapes import Float, Int

Function = TypeVar("Function", bound=Callable[..., Tensor])


def _full_precision(function: Function) -> Function:
    """Run ``function`` outside autocast, with half-precision tensors raised to fp32."""

    @functools.wraps(function)
    def raised(*args: Any, **kwargs: Any) -> Tensor:
        device = next(a.device.type for a in args if isinstance(a, Tensor))
        with torch.autocast(device, enabled=False):
            return function(*map(_raise, args), **{k: _raise(v) for k, v in kwargs.items()})

    return raised  # type: ignore[return-value]


def _raise(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if half else value


class _VarianceToTarget(torch.autograd.Function):
    """q_c[j, c] for each class in use: what Prop. 1 reads, without the rest of the table.

    With T = (W - w_c) Sigma_c the value is sum_a (W - w_c) * T and its derivative by W - w_c is 2 T,
    so T is all that the backward pass needs.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, covariance: ClassCovariance, classes: Tensor) -> Tensor:
        difference = weight - weight[classes].unsqueeze(1)  # (p, c, a)
        product = covariance.multiply_each(difference, classes)
        ctx.save_for_backward(product, classes)
        return (difference * product).sum(2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        product, classes = ctx.saved_tensors
        weighted = 2 * grads[0].unsqueeze(2) * product
        return weighted.sum(0).index_add_(0, classes, -weighted.sum(1)), None, None


class _ClassGram(torch.autograd.Function):
    """G_c = W Sigma_c W^T for each class in use. With V = W Sigma_c, dL/dW = (g + g^T) V."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, covariance: ClassCovariance, classes: Tensor) -> Tensor:
        product = covariance.multiply_each(weight.expand(len(classes), -1, -1), classes)
        ctx.save_for_backward(product)
        gram = product @ weight.T
        return (gram + gram.mT) / 2  # symmetric to the bit, so that q_c[j, j] is exactly 0

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (product,) = ctx.saved_tensors
        return torch.einsum("pjk,pka->ja", grads[0] + grads[0].mT, product), None, None


def variance_table(
    weight: Float[Tensor, "c a"], covariance: ClassCovariance, classes: Int[Tensor, " p"]
) -> Float[Tensor, "p c c"]:
    """q_c[j, k] = G_jj - 2 G_jk + G_kk for each class asked for; symmetric, with a zero diagonal."""
    gram = _ClassGram.apply(weight, covariance, classes)
    own = gram.diagonal(dim1=1, dim2=2)
    table: Tensor = (own.unsqueeze(2) + own.unsqueeze(1)) - 2 * gram
    return table


@_full_precision
def isda_cross_entropy(
    logits: Float[Tensor, "n c"],
    labels: Int[Tensor, " n"],
    weight: Float[Tensor, "c a"],
    covariance: ClassCovariance,
    strength: float | Tensor,
) -> Float[Tensor, ""]:
    r"""Proposition 1: the upper bound of the expected cross-entropy under feature augmentation.

    .. math:: \frac1n \sum_i -\log \frac{e^{z_{i y_i}}}
        {\sum_j e^{z_{ij} + \frac\lambda2 q_{y_i}[j, y_i]}}

    Mean over the n labeled images. ``strength`` = 0 gives plain cross-entropy to the bit.

    Parameters
    ----------
    logits, labels : of a batch of labeled images
    weight : the head's weight, whose gradient also flows through q
    covariance : already updated with this batch (see ``ClassCovariance.update``)
    strength : lambda at this step
    """
    _check_head(logits, weight, covariance)
    classes, positions = covariance.in_use(labels)
    variance: Tensor = _VarianceToTarget.apply(weight, covariance, classes)
    return F.cross_entropy(logits + (strength / 2) * variance.index_select(0, positions), labels)


@_full_precision
def semantic_consistency(
    logits: Float[Tensor, "n c"],
    weight: Float[Tensor, "c a"],
    covariance: ClassCovariance,
    strength: float | Tensor,
) -> Float[Tensor, ""]:
    r"""Proposition 2: the upper bound of the expected cross-entropy between p and its augmented self.

    .. math:: \frac1n \sum_i \sum_k p_{ik} \Big(\log \sum_j
        e^{z_{ij} + \frac\lambda2 q_{\tilde y_i}[j, k]} - z_{ik}\Big)

    with p = softmax(z) held constant and the pseudo-label y~ = argmax p. Less the entropy of p it
    bounds the expected KL divergence (the paper drops that constant, Eq. 14). Mean over the n
    unlabeled images. At ``strength`` = 0 its gradient is zero.
    """
    _check_head(logits, weight, covariance)
    probabilities = logits.detach().softmax(1)
    classes, positions = covariance.in_use(probabilities.argmax(1))
    table = (strength / 2) * variance_table(weight, covariance, classes)
    # q is symmetric and q[k, k] = 0: for each k this is a cross-entropy with target k.
    shifted = logits.unsqueeze(1) + table.index_select(0, positions)  # (n, k, j)
    bound = -shifted.log_softmax(2).diagonal(dim1=1, dim2=2)
    return (probabilities * bound).sum(1).mean()


@_full_precision
def sampled_isda_cross_entropy(
    features: Float[Tensor, "n a"],
    labels: Int[Tensor, " n"],
    weight: Float[Tensor, "c a"],
    bias: Float[Tensor, " c"],
    covariance: ClassCovariance,
    strength: float,
    *,
    num_samples: int,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """What Prop. 1 bounds: cross-entropy of ``num_samples`` explicit draws a~ ~ N(a, lambda Sigma_y).

    Mean over draws and images (Eq. 4, "explicit" in Fig. 10). Unbiased for the expectation.
    """
    draws = _augmented_logits(
        features, labels, weight, bias, covariance, strength, num_samples, generator
    )
    return F.cross_entropy(draws.flatten(0, 1), labels.repeat(num_samples))


@_full_precision
def sampled_semantic_consistency(
    features: Float[Tensor, "n a"],
    weight: Float[Tensor, "c a"],
    bias: Float[Tensor, " c"],
    covariance: ClassCovariance,
    strength: float,
    *,
    num_samples: int,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """What Prop. 2 bounds (Eq. 14): cross-entropy of p with the predictions of explicit draws.

    Mean over draws and images; p, the prediction of the feature itself, is held constant.
    """
    probabilities = F.linear(features, weight, bias).detach().softmax(1)
    draws = _augmented_logits(
        features,
        probabilities.argmax(1),
        weight,
        bias,
        covariance,
        strength,
        num_samples,
        generator,
    )
    return -(probabilities * draws.log_softmax(2)).sum(2).mean()


def _augmented_logits(
    features: Tensor,
    labels: Tensor,
    weight: Tensor,
    bias: Tensor,
    covariance: ClassCovariance,
    strength: float,
    num_samples: int,
    generator: torch.Generator,
) -> Tensor:
    noise = covariance.draw(labels, num_samples, generator)  # (m, n, a)
    return F.linear(features + strength**0.5 * noise, weight, bias)


@_full_precision
def softmax_mse(logits: Float[Tensor, "n c"], target: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """mean over images AND classes of (softmax(logits) - target)^2; ``target`` are probabilities."""
    return (logits.softmax(1) - target).square().mean()


@_full_precision
def softmax_kl(
    target_logits: Float[Tensor, "n c"], logits: Float[Tensor, "n c"]
) -> Float[Tensor, ""]:
    """mean over images of KL(softmax(target_logits) || softmax(logits)), gradients through both."""
    target = target_logits.log_softmax(1)
    return (target.exp() * (target - logits.log_softmax(1))).sum(1).mean()


@_full_precision
def entropy(logits: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """mean over images of H(softmax(logits)), in nats."""
    log_probabilities = logits.log_softmax(1)
    return -(log_probabilities.exp() * log_probabilities).sum(1).mean()


def _check_head(logits: Tensor, weight: Tensor, covariance: ClassCovariance) -> None:
    expected = (covariance.num_classes, covariance.num_features)
    if tuple(weight.shape) != expected:
        raise ValueError(
            f"weight is the head's, {expected} for this covariance; got {tuple(weight.shape)}"
        )
    if logits.ndim != 2 or logits.shape[1] != covariance.num_classes:
        raise ValueError(f"logits are (n, {expected[0]}); got {tuple(logits.shape)}")
