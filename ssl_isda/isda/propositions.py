r"""The two propositions of ISDA as pure functions, closer forms of the second, and their
sampled versions.

Notation: a linear head with rows w_1..w_C and biases b; z = W a + b are the logits of feature a;
Sigma_c is the covariance of class c; lambda (``strength``) scales the augmentation a~ ~ N(a, lambda
Sigma). Both propositions read one table per class,

    q_c[j, k] = (w_j - w_k)^T Sigma_c (w_j - w_k) = (e_j - e_k)^T G_c (e_j - e_k),  G_c = W Sigma_c W^T.

The semantic term for the prediction p of an unlabeled image has three closed forms. They estimate
E H(p, softmax(z~)), the expected cross-entropy of Eq. 14, or less H(p) the expected KL of Eq. 13:

    E KL  <=  centered_semantic_consistency - H(p)  <=  semantic_consistency - H(p) (Prop. 2).

As lambda -> 0, with V = sum_j p_j G_jj - p^T G p, E KL = (lambda/2) V + O(lambda^2); the centered
bound and ``second_order_consistency`` are right to that order, Prop. 2 tends to lambda V, twice that.

Shape key: n images, a features, c classes, p classes in use, m draws.

Precision: everything here runs in fp32 (or float64) outside autocast: from bf16 inputs q is wrong by
1 %. Gradients: into W through G, into features through the logits; none into an estimated Sigma (a
learned one gets its own), none through the p that a loss holds constant.

Source: Wang et al., Regularizing Deep Networks with Semantic Data Augmentation, TPAMI 2021.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_isda.base.precision import full_precision
from ssl_isda.base.shapes import Float, Int
from ssl_isda.isda.covariance import ClassCovariance, classes_in_use
from ssl_isda.isda.learned import Covariance

AT_ONCE = 2**17
"""Numbers in the differences of weights that a CPU works on at a time: they stay in its cache."""


class _VarianceToTarget(torch.autograd.Function):
    """q_c[j, c] for each class in use: what Prop. 1 reads, without the rest of the table.

    With T = (W - w_c) Sigma_c the value is sum_a (W - w_c) * T and its derivative by W - w_c is 2 T,
    so T is all that the backward pass needs. A CPU takes as many classes at once as its cache holds.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, covariance: ClassCovariance, classes: Tensor) -> Tensor:
        ctx.at_once = len(classes) if classes.is_cuda else max(1, AT_ONCE // weight.numel())
        products, variances = [], []
        for some in classes.split(ctx.at_once):
            difference = weight - weight.index_select(0, some).unsqueeze(1)  # (p, c, a)
            products.append(covariance.multiply_each(difference, some))
            variances.append(difference.mul_(products[-1]).sum(2))
        ctx.save_for_backward(classes, *products)
        return torch.cat(variances)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        classes, *products = ctx.saved_tensors
        parts = zip(grads[0].split(ctx.at_once), products, classes.split(ctx.at_once), strict=True)
        by_weight = [_by_weight(2 * grad.unsqueeze(2) * T, some) for grad, T, some in parts]
        return functools.reduce(Tensor.add_, reversed(by_weight)), None, None


def _by_weight(by_difference: Tensor, classes: Tensor) -> Tensor:
    """The derivative by W, (c, a), from that by the differences W - w_c, (p, c, a)."""
    return by_difference.sum(0).index_add_(0, classes, -by_difference.sum(1))


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


def _variance_to_target(weight: Tensor, covariance: Covariance, classes: Tensor) -> Tensor:
    """q_c[j, c] for each class in use: (p, c)."""
    if isinstance(covariance, ClassCovariance):
        variance: Tensor = _VarianceToTarget.apply(weight, covariance, classes)
        return variance
    spread = covariance.spread(weight, classes)
    own = spread[torch.arange(len(classes), device=classes.device), classes]
    return (spread - own.unsqueeze(1)).square().sum(2)


def _gram(weight: Tensor, covariance: Covariance, classes: Tensor) -> Tensor:
    """G_c for each class in use: (p, c, c), symmetric to the bit."""
    if isinstance(covariance, ClassCovariance):
        gram: Tensor = _ClassGram.apply(weight, covariance, classes)
        return gram
    spread = covariance.spread(weight, classes)
    gram = spread @ spread.mT
    return (gram + gram.mT) / 2


def variance_table(
    weight: Float[Tensor, "c a"], covariance: Covariance, classes: Int[Tensor, " p"]
) -> Float[Tensor, "p c c"]:
    """q_c[j, k] = G_jj - 2 G_jk + G_kk for each class asked for; symmetric, with a zero diagonal."""
    gram = _gram(weight, covariance, classes)
    own = gram.diagonal(dim1=1, dim2=2)
    table: Tensor = (own.unsqueeze(2) + own.unsqueeze(1)) - 2 * gram
    return table


@full_precision
def isda_cross_entropy(
    logits: Float[Tensor, "n c"],
    labels: Int[Tensor, " n"],
    weight: Float[Tensor, "c a"],
    covariance: Covariance,
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
    return F.cross_entropy(augmented_logits(logits, labels, weight, covariance, strength), labels)


@full_precision
def augmented_logits(
    logits: Float[Tensor, "n c"],
    labels: Int[Tensor, " n"],
    weight: Float[Tensor, "c a"],
    covariance: Covariance,
    strength: float | Tensor,
) -> Float[Tensor, "n c"]:
    r"""z_ij + (lambda/2) q_{y_i}[j, y_i]: the logits whose cross-entropy is the bound of Prop. 1.

    A loss other than cross-entropy can be given them as well; parameters as in
    ``isda_cross_entropy``. The logit of the label stays what it is.
    """
    _check_head(logits, weight, covariance)
    classes, positions = classes_in_use(labels, covariance.num_classes)
    variance = _variance_to_target(weight, covariance, classes)
    return logits + (strength / 2) * variance.index_select(0, positions)


@full_precision
def semantic_consistency(
    logits: Float[Tensor, "n c"],
    weight: Float[Tensor, "c a"],
    covariance: Covariance,
    strength: float | Tensor,
) -> Float[Tensor, ""]:
    r"""Proposition 2: the upper bound of the expected cross-entropy between p and its augmented self.

    .. math:: \frac1n \sum_i \sum_k p_{ik} \Big(\log \sum_j
        e^{z_{ij} + \frac\lambda2 q_{\tilde y_i}[j, k]} - z_{ik}\Big)

    with p = softmax(z) held constant and the pseudo-label y~ = argmax p. Less the entropy of p it
    bounds the expected KL divergence (the paper drops that constant, Eq. 14). Mean over the n
    unlabeled images. At ``strength`` = 0 its gradient is zero.
    """
    probabilities = logits.detach().softmax(1)
    return soft_isda_cross_entropies(logits, probabilities, weight, covariance, strength).mean()


@full_precision
def soft_isda_cross_entropies(
    logits: Float[Tensor, "n c"],
    probabilities: Float[Tensor, "n c"],
    weight: Float[Tensor, "c a"],
    covariance: Covariance,
    strength: float | Tensor,
) -> Float[Tensor, " n"]:
    """Proposition 2 for each row, with targets p of any origin, held constant, and Sigma of argmax p."""
    _check_head(logits, weight, covariance)
    classes, positions = classes_in_use(probabilities.argmax(1), covariance.num_classes)
    table = (strength / 2) * variance_table(weight, covariance, classes)
    # q is symmetric and q[k, k] = 0: for each k this is a cross-entropy with target k.
    shifted = logits.unsqueeze(1) + table.index_select(0, positions)  # (n, k, j)
    bound = -shifted.log_softmax(2).diagonal(dim1=1, dim2=2)
    return (probabilities * bound).sum(1)


@full_precision
def centered_semantic_consistency(
    logits: Float[Tensor, "n c"],
    weight: Float[Tensor, "c a"],
    covariance: Covariance,
    strength: float | Tensor,
) -> Float[Tensor, ""]:
    r"""A lower upper bound than Prop. 2's of the same expectation, and exact to first order in lambda.

    .. math:: \frac1n \sum_i \Big(\log \sum_j e^{z_{ij} + \frac\lambda2 (e_j - p_i)^T G (e_j - p_i)}
        - \sum_k p_{ik} z_{ik}\Big)

    with p = softmax(z) held constant and G that of the pseudo-label argmax p. Mean over the n
    unlabeled images. At ``strength`` = 0 it is H(p) and its gradient is zero.

    It is a bound. With delta = z~ - z ~ N(0, lambda G) the expectation is E logsumexp(z + delta) -
    p^T z. A shift by r^T delta, whatever r, does not change its value, since E delta = 0; then
    Jensen's inequality and the moments of a Gaussian give f(r) - p^T z with

        f(r) = log sum_j exp(z_j + (lambda/2) (e_j - r)^T G (e_j - r)).

    It is lower. Prop. 2 is sum_k p_k f(e_k) - p^T z, this is f(p) - p^T z, and f is convex. With a
    one-hot p the two are the same: Prop. 1.

    It is exact to first order: f(p) - f at lambda 0 = (lambda/2) V + O(lambda^2), and of all r it is
    p that makes the first-order term smallest. So holding p constant alters no first-order gradient,
    neither that to the features nor that to W. (Prop. 2's gradient to the features is right to first
    order as well, its gradient to W through G is twice what it should be. At lambda/2 its value and
    its gradient to W would be right and its gradient to the features half: no remedy.)
    """
    probabilities = logits.detach().softmax(1)
    variance = _variance_about_mean(logits, probabilities, weight, covariance)
    bound = (logits + (strength / 2) * variance).logsumexp(1)
    return (bound - (probabilities * logits).sum(1)).mean()


@full_precision
def second_order_consistency(
    logits: Float[Tensor, "n c"],
    weight: Float[Tensor, "c a"],
    covariance: Covariance,
    strength: float | Tensor,
) -> Float[Tensor, ""]:
    r"""The expected KL of Eq. 13 to first order in lambda: an estimate, no bound.

    .. math:: \frac1n \sum_i \frac\lambda2 \Big(\sum_j \pi_{ij} G_{jj} - \pi_i^T G \pi_i\Big)

    with pi = softmax(z) and G that of the pseudo-label argmax pi. Mean over the n unlabeled images.

    Derivation: KL(pi || softmax(z + delta)) = (1/2) delta^T (diag(pi) - pi pi^T) delta + O(delta^3);
    the expectation over delta ~ N(0, lambda G) is the above, with an error of O(lambda^2) since odd
    moments vanish.

    Here pi is differentiated, unlike in the bounds: nothing else carries a gradient to the features.
    It is the right one. With p constant the gradient of Eq. 14 to z is E softmax(z + delta) - p; with
    p = softmax(z) differentiated, E KL = E logsumexp(z + delta) - logsumexp(z), has the same one.
    """
    probabilities = logits.softmax(1)
    # About a constant mean: V is the smallest value over all means, so its gradient is the same.
    variance = _variance_about_mean(logits, probabilities.detach(), weight, covariance)
    return (strength / 2) * (probabilities * variance).sum(1).mean()


def _variance_about_mean(
    logits: Tensor, probabilities: Tensor, weight: Tensor, covariance: Covariance
) -> Tensor:
    """(e_j - p)^T G (e_j - p): the variance of logit j about the mean logit p^T z; (n, c)."""
    _check_head(logits, weight, covariance)
    classes, positions = classes_in_use(probabilities.argmax(1), covariance.num_classes)
    gram = _gram(weight, covariance, classes)
    own = gram.diagonal(dim1=1, dim2=2).index_select(0, positions)
    to_mean = torch.einsum("njk,nk->nj", gram.index_select(0, positions), probabilities)
    return own - 2 * to_mean + (probabilities * to_mean).sum(1, keepdim=True)


@full_precision
def sampled_isda_cross_entropy(
    features: Float[Tensor, "n a"],
    labels: Int[Tensor, " n"],
    weight: Float[Tensor, "c a"],
    bias: Float[Tensor, " c"],
    covariance: Covariance,
    strength: float,
    *,
    num_samples: int,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """What Prop. 1 bounds: cross-entropy of ``num_samples`` explicit draws a~ ~ N(a, lambda Sigma_y).

    Mean over draws and images (Eq. 5, "explicit" in Fig. 10). Unbiased for the expectation.
    """
    draws = sampled_logits(
        features, labels, weight, bias, covariance, strength, num_samples, generator
    )
    return F.cross_entropy(draws.flatten(0, 1), labels.repeat(num_samples))


@full_precision
def sampled_semantic_consistency(
    features: Float[Tensor, "n a"],
    weight: Float[Tensor, "c a"],
    bias: Float[Tensor, " c"],
    covariance: Covariance,
    strength: float,
    *,
    num_samples: int,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """What Prop. 2 bounds (Eq. 14): cross-entropy of p with the predictions of explicit draws.

    Mean over draws and images; p, the prediction of the feature itself, is held constant.
    """
    probabilities = F.linear(features, weight, bias).detach().softmax(1)
    draws = sampled_logits(
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


@full_precision
def sampled_logits(
    features: Float[Tensor, "n a"],
    labels: Int[Tensor, " n"],
    weight: Float[Tensor, "c a"],
    bias: Float[Tensor, " c"],
    covariance: Covariance,
    strength: float,
    num_samples: int,
    generator: torch.Generator,
) -> Float[Tensor, "m n c"]:
    """Of ``num_samples`` explicit draws a~ ~ N(a, lambda Sigma_y) for each row."""
    noise = covariance.draw(labels, num_samples, generator)  # (m, n, a)
    return F.linear(features + strength**0.5 * noise, weight, bias)


def _check_head(logits: Tensor, weight: Tensor, covariance: Covariance) -> None:
    expected = (covariance.num_classes, covariance.num_features)
    if tuple(weight.shape) != expected:
        raise ValueError(
            f"weight is the head's, {expected} for this covariance; got {tuple(weight.shape)}"
        )
    if logits.ndim != 2 or logits.shape[1] != covariance.num_classes:
        raise ValueError(f"logits are (n, {expected[0]}); got {tuple(logits.shape)}")
