r"""Two closed forms of the semantic term that lie closer to what Prop. 2 bounds than it does.

They are handed on by ``ssl_isda.isda.propositions``, which has the notation and compares them.
"""

from __future__ import annotations

from torch import Tensor

from ssl_isda.base.precision import full_precision
from ssl_isda.base.reduction import Reduction, reduced
from ssl_isda.base.shapes import Float
from ssl_isda.isda.labels import row_shape, rows_of
from ssl_isda.isda.learned import Covariance
from ssl_isda.isda.variances import exponents, flat_weight, variance_about_mean


@full_precision
def centered_semantic_consistency(
    logits: Float[Tensor, "n c *pixels"],
    weight: Float[Tensor, "c a *ones"],
    covariance: Covariance,
    strength: float | Tensor,
    *,
    reduction: Reduction = "mean",
    max_exponent: float | None = None,
) -> Float[Tensor, "..."]:
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
    rows = rows_of(logits)
    weight = flat_weight(rows, weight, covariance)
    probabilities = rows.detach().softmax(1)
    variance = variance_about_mean(probabilities, weight, covariance)
    bound = (rows + exponents(variance, strength, max_exponent)).logsumexp(1)
    each = bound - (probabilities * rows).sum(1)
    return reduced(each.view(row_shape(logits)), reduction)


@full_precision
def second_order_consistency(
    logits: Float[Tensor, "n c *pixels"],
    weight: Float[Tensor, "c a *ones"],
    covariance: Covariance,
    strength: float | Tensor,
    *,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
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
    rows = rows_of(logits)
    weight = flat_weight(rows, weight, covariance)
    probabilities = rows.softmax(1)
    variance = variance_about_mean(probabilities, weight, covariance)
    each = (probabilities * variance).sum(1).view(row_shape(logits))
    return (strength / 2) * reduced(each, reduction)
