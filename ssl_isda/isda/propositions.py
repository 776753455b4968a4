r"""The two propositions of ISDA as pure functions, and closer forms of the second. Their sampled
versions are in ``ssl_isda.isda.sampled``.

Notation: a linear head with rows w_1..w_C and biases b; z = W a + b are the logits of feature a;
Sigma_c is the covariance of class c; lambda (``strength``) scales the augmentation a~ ~ N(a, lambda
Sigma). Both propositions read one table per class,

    q_c[j, k] = (w_j - w_k)^T Sigma_c (w_j - w_k) = (e_j - e_k)^T G_c (e_j - e_k),  G_c = W Sigma_c W^T.

The semantic term for the prediction p of an unlabeled image has three closed forms. They estimate
E H(p, softmax(z~)), the expected cross-entropy of Eq. 14, or less H(p) the expected KL of Eq. 13:

    E KL  <=  centered_semantic_consistency - H(p)  <=  semantic_consistency - H(p) (Prop. 2).

As lambda -> 0, with V = sum_j p_j G_jj - p^T G p, E KL = (lambda/2) V + O(lambda^2); the centered
bound and ``second_order_consistency`` are right to that order, Prop. 2 tends to lambda V, twice that.

Rows are images, or the pixels of (n, c, h, w) logits: labels are then (n, h, w), a head's weight may be
that of a 1 x 1 convolution, and means are over pixels.

Shape key: n images, a features, c classes.

Precision: everything here runs in fp32 (or float64) outside autocast: from bf16 inputs q is wrong by
1 %. Gradients: into W through G, into features through the logits; none into an estimated Sigma (a
learned one gets its own). The p that a loss holds constant is so in derivatives of every order. Second
derivatives, ``torch.func`` and ``torch.compile`` are served as ``ssl_isda.isda.variances`` says.

Source: Wang et al., Regularizing Deep Networks with Semantic Data Augmentation, TPAMI 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_isda.base.precision import full_precision
from ssl_isda.base.reduction import Reduction, reduced
from ssl_isda.base.shapes import Float
from ssl_isda.isda.closer_forms import (
    centered_semantic_consistency as centered_semantic_consistency,
)
from ssl_isda.isda.closer_forms import second_order_consistency as second_order_consistency
from ssl_isda.isda.cross_entropy import Target, cross_entropy, shares_of, target_of
from ssl_isda.isda.labels import NO_CLASS, classes_in_use, row_shape, rows_of
from ssl_isda.isda.learned import Covariance
from ssl_isda.isda.sampled import sampled_isda_cross_entropy as sampled_isda_cross_entropy
from ssl_isda.isda.sampled import sampled_logits as sampled_logits
from ssl_isda.isda.sampled import sampled_semantic_consistency as sampled_semantic_consistency
from ssl_isda.isda.variances import AT_ONCE as AT_ONCE
from ssl_isda.isda.variances import (
    exponents,
    flat_weight,
    variance_of_mixture,
    variance_table,
    variance_to_target,
)


@full_precision
def isda_cross_entropy(
    logits: Float[Tensor, "n c *pixels"],
    labels: Tensor,
    weight: Float[Tensor, "c a *ones"],
    covariance: Covariance,
    strength: float | Tensor,
    *,
    class_weight: Float[Tensor, " c"] | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = NO_CLASS,
    reduction: Reduction = "mean",
    max_exponent: float | None = None,
) -> Float[Tensor, "..."]:
    r"""Proposition 1: the upper bound of the expected cross-entropy under feature augmentation.

    .. math:: \frac1n \sum_i -\log \frac{e^{z_{i y_i}}}
        {\sum_j e^{z_{ij} + \frac\lambda2 q_{y_i}[j, y_i]}}

    ``strength`` = 0 gives plain cross-entropy to the bit, with all of its options.

    Mixtures of classes (mixup, CutMix). A row whose image is mixed of images of the classes k, with
    shares y_k that sum to 1, has a feature a = sum_k y_k a_k, to the extent that features mix as images
    do. Each part is augmented by its own class, a~_k ~ N(a_k, lambda Sigma_k), independently, so

        a~ ~ N(a, lambda sum_k y_k^2 Sigma_k),    z~ = z + d,  d ~ N(0, lambda G),  G = sum_k y_k^2 G_k.

    The expected cross-entropy with y is E logsumexp(z + d) - y^T z. For any r that sums to 1 it stays
    what it is if r^T d, whose mean is 0, is taken from every logit; Jensen's inequality and the moments
    of a Gaussian then bound it by

        log sum_j exp(z_j + (lambda/2) (e_j - r)^T G (e_j - r)) - y^T z.

    This is used with r = y. A row of one class is Prop. 1, and since the bound is convex in r, it is at
    most the mean over k, with weights y_k, of the bounds that have r = e_k. Two images of one class k,
    mixed, have the label e_k and get the whole Sigma_k instead of the smaller (y^2 + (1 - y)^2) Sigma_k,
    which is a bound all the same.

    Label smoothing and class weights change the target t of a row, not its augmentation. The bound of
    the expected loss is then sum_k t_k (logsumexp_j(z_j + (lambda/2) v_j) - z_k), v the variances above.
    The cross-entropy of ``augmented_logits`` with t would be less, and no bound, since it also subtracts
    t^T v: it would reward a head whose logits vary.

    Parameters
    ----------
    logits : (n, c), or (n, c, h, w)
    labels : (n,), or (n, h, w), classes of any integer type; or shares of a mixture, of the shape of
        ``logits``
    weight : the head's weight, (c, a) or (c, a, 1, 1), whose gradient also flows through q
    covariance : already updated with this batch (see ``ClassCovariance.update``)
    strength : lambda at this step
    class_weight, label_smoothing, ignore_index, reduction : as in ``F.cross_entropy``: with class
        weights the mean over integer labels divides by the sum of theirs. Without a row that counts
        the mean is 0, with a zero gradient
    max_exponent : cap on each (lambda/2) q, of which there is no gradient beyond it; no bound then

    Returns
    -------
    A scalar; with ``reduction`` "none" one loss a row, (n,) or (n, h, w)

    Raises
    ------
    ValueError
        Shapes or types that do not fit; a label outside the classes that is not ``ignore_index``. On
        a GPU, in ``torch.compile`` and in ``torch.func.vmap``, where nothing waits for the check, the
        loss of that row is NaN.
    """
    target = target_of(labels, row_shape(logits), logits.shape[1], ignore_index)
    rows = rows_of(logits)
    shift = _shift(rows, target, weight, covariance, strength, max_exponent)
    loss = cross_entropy(rows, shift, target, class_weight, label_smoothing, reduction)
    return loss.view(row_shape(logits)) if reduction == "none" else loss


@full_precision
def augmented_logits(
    logits: Float[Tensor, "n c *pixels"],
    labels: Tensor,
    weight: Float[Tensor, "c a *ones"],
    covariance: Covariance,
    strength: float | Tensor,
    *,
    ignore_index: int = NO_CLASS,
    max_exponent: float | None = None,
) -> Float[Tensor, "n c *pixels"]:
    r"""z_ij + (lambda/2) q_{y_i}[j, y_i]: the logits whose cross-entropy is the bound of Prop. 1.

    A loss other than cross-entropy can be given them as well; parameters as in
    ``isda_cross_entropy``. The logit of the label stays what it is, and so does a row without one. For
    a mixture of classes they are the z_j + (lambda/2) v_j there; their logsumexp, less the mixture's
    mean of the plain logits, is the bound.
    """
    target = target_of(labels, row_shape(logits), logits.shape[1], ignore_index)
    rows = rows_of(logits)
    augmented = rows + _shift(rows, target, weight, covariance, strength, max_exponent)
    if logits.ndim == 2:
        return augmented
    return augmented.view(*row_shape(logits), logits.shape[1]).movedim(-1, 1)


def _shift(
    rows: Tensor,
    target: Target,
    weight: Tensor,
    covariance: Covariance,
    strength: float | Tensor,
    most: float | None,
) -> Tensor:
    """(lambda/2) v: what augmentation adds to the logits, (m, c), at most ``most``."""
    weight = flat_weight(rows, weight, covariance)
    if target.classes is None:
        variance = variance_of_mixture(shares_of(target.values), weight, covariance)
        return exponents(variance, strength, most)
    _, present, outside = target.classes
    assert target.in_use is not None and target.positions is not None
    variance = variance_to_target(weight, covariance, target.in_use)
    shift = exponents(variance.index_select(0, target.positions), strength, most)
    if present is not None:
        shift = shift.where(present.unsqueeze(1), 0)
    return shift if outside is None else shift.where(~outside.unsqueeze(1), torch.nan)


@full_precision
def semantic_consistency(
    logits: Float[Tensor, "n c *pixels"],
    weight: Float[Tensor, "c a *ones"],
    covariance: Covariance,
    strength: float | Tensor,
    *,
    classes: Tensor | None = None,
    reduction: Reduction = "mean",
    max_exponent: float | None = None,
) -> Float[Tensor, "..."]:
    r"""Proposition 2: the upper bound of the expected cross-entropy between p and its augmented self.

    .. math:: \frac1n \sum_i \sum_k p_{ik} \Big(\log \sum_j
        e^{z_{ij} + \frac\lambda2 q_{\tilde y_i}[j, k]} - z_{ik}\Big)

    with p = softmax(z) held constant and the pseudo-label y~ = argmax p, unless ``classes``, (n,) or
    (n, h, w) int64, have others. Less the entropy of p it bounds the expected KL divergence (the paper
    drops that constant, Eq. 14). Mean over the unlabeled rows, 0 without any. At ``strength`` = 0 its
    gradient is zero.
    """
    probabilities = rows_of(logits).detach().softmax(1)
    chosen = probabilities.argmax(1) if classes is None else classes.flatten()
    shared = (weight, covariance, strength, max_exponent)
    each = _soft_bounds(rows_of(logits), probabilities, chosen, *shared)
    return reduced(each.view(row_shape(logits)), reduction)


@full_precision
def soft_isda_cross_entropies(
    logits: Float[Tensor, "n c"],
    probabilities: Float[Tensor, "n c"],
    weight: Float[Tensor, "c a *ones"],
    covariance: Covariance,
    strength: float | Tensor,
    *,
    max_exponent: float | None = None,
) -> Float[Tensor, " n"]:
    """Proposition 2 for each row, with targets p of any origin, held constant, and Sigma of argmax p."""
    shared = (weight, covariance, strength, max_exponent)
    return _soft_bounds(logits, probabilities, probabilities.argmax(1), *shared)


def _soft_bounds(
    rows: Tensor,
    probabilities: Tensor,
    chosen: Tensor,
    weight: Tensor,
    covariance: Covariance,
    strength: float | Tensor,
    most: float | None,
) -> Tensor:
    weight = flat_weight(rows, weight, covariance)
    classes, positions = classes_in_use(chosen, covariance.num_classes)
    table = exponents(variance_table(weight, covariance, classes), strength, most)
    # q is symmetric and q[k, k] = 0: for each k this is a cross-entropy with target k.
    shifted = rows.unsqueeze(1) + table.index_select(0, positions)  # (m, k, j)
    bound = -shifted.log_softmax(2).diagonal(dim1=1, dim2=2)
    return (probabilities * bound).sum(1)
