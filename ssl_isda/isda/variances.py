r"""The variances of logit differences under feature augmentation: what all closed forms read.

With the differences W - w_k of the head's rows, and G_c = W Sigma_c W^T,

    q_c[j, k] = (w_j - w_k)^T Sigma_c (w_j - w_k) = (e_j - e_k)^T G_c (e_j - e_k).

First derivatives by W come from hand-written backward passes, which keep what the forward pass
computed and are exact also if the covariance is updated before they run. Where a derivative is
differentiated again (``create_graph=True``), they are made of differentiable operations instead; within
``torch.func`` and ``torch.compile`` everything is. An estimated Sigma is a constant in all of them.

Shape key: n images, a features, c classes, p classes in use.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from ssl_isda.base.shapes import Float, Int
from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.labels import classes_in_use, has_fixed_shapes
from ssl_isda.isda.learned import Covariance

AT_ONCE = 2**17
"""Numbers in the differences of weights that a CPU works on at a time: they stay in its cache."""
MOST_DIFFERENCES = 2**24
"""Numbers in the differences of weights of all classes in use, p x c x a, beyond which diagonal
covariances do without them."""


def is_traced() -> bool:
    """Whether ``torch.compile`` or ``torch.func`` look at every operation."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


class _VarianceToTarget(torch.autograd.Function):
    """q_c[j, c] for each class in use: what Prop. 1 reads, without the rest of the table.

    With T = (W - w_c) Sigma_c the value is sum_a (W - w_c) * T and its derivative by W - w_c is 2 T,
    so T is all that the backward pass needs. A CPU takes as many classes at once as its cache holds.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, covariance: ClassCovariance, classes: Tensor) -> Tensor:
        ctx.at_once = len(classes) if classes.is_cuda else max(1, AT_ONCE // weight.numel())
        ctx.again = _Again(covariance)
        products, variances = [], []
        for some in classes.split(ctx.at_once):
            difference = weight - weight.index_select(0, some).unsqueeze(1)  # (p, c, a)
            products.append(covariance.multiply_each(difference, some))
            variances.append(difference.mul_(products[-1]).sum(2))
        ctx.save_for_backward(weight, classes, *products)
        return torch.cat(variances) if len(variances) > 1 else variances[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        weight, classes, *products = ctx.saved_tensors
        chosen = classes.split(ctx.at_once)
        if torch.is_grad_enabled():
            products = [
                ctx.again.multiply_each(weight - weight.index_select(0, some).unsqueeze(1), some)
                for some in chosen
            ]
        parts = zip(grads[0].split(ctx.at_once), products, chosen, strict=True)
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
        ctx.again = _Again(covariance)
        ctx.save_for_backward(weight, classes, product)
        gram = product @ weight.T
        return (gram + gram.mT) / 2  # symmetric to the bit, so that q_c[j, j] is exactly 0

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        weight, classes, product = ctx.saved_tensors
        if torch.is_grad_enabled():
            product = ctx.again.multiply_each(weight.expand(len(classes), -1, -1), classes)
        c, a = weight.shape
        pairs = c * len(product)
        g = (grads[0] + grads[0].mT).permute(1, 2, 0).reshape(c, pairs)  # (j, k p)
        return g @ product.transpose(0, 1).reshape(pairs, a), None, None


class _AboutMean(torch.autograd.Function):
    """G_jj - 2 (G p)_j + p^T G p: the variance of logit j about the mean logit p^T z.

    The mean of the values, with weights p, is smallest at this p. So its first derivative by the p in
    them is 0, and that part is handed on only once a derivative was asked for with create_graph.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, gram: Tensor, mean: Tensor) -> Tensor:
        ctx.save_for_backward(gram, mean)
        ctx.again = False
        return _about_mean(own, gram, mean)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        gram, mean = ctx.saved_tensors
        total = grads[0].sum(1, keepdim=True)
        by_product = total * mean - 2 * grads[0]
        by_gram = by_product.unsqueeze(2) * mean.unsqueeze(1)
        ctx.again = ctx.again or torch.is_grad_enabled()
        if not ctx.again:
            return grads[0], by_gram, None
        product = (gram @ mean.unsqueeze(2)).squeeze(2)
        through = (gram.mT @ by_product.unsqueeze(2)).squeeze(2)
        return grads[0], by_gram, total * product + through


def _about_mean(own: Tensor, gram: Tensor, mean: Tensor) -> Tensor:
    to_mean = torch.einsum("njk,nk->nj", gram, mean)
    return own - 2 * to_mean + (mean * to_mean).sum(1, keepdim=True)


class _Again:
    """A covariance to multiply by once more, as long as it is the one of the forward pass."""

    def __init__(self, covariance: ClassCovariance) -> None:
        self.covariance, self.scatter = covariance, covariance.scatter
        self.version = self.scatter._version

    def multiply_each(self, directions: Tensor, classes: Tensor) -> Tensor:
        now = self.covariance.scatter
        if now is not self.scatter or now._version != self.version:
            raise RuntimeError(
                "the covariance was updated between a loss and its derivative with "
                "create_graph=True, which needs it as it was: update before the loss, and take "
                "both derivatives before the next update"
            )
        return self.covariance.multiply_each(directions, classes)


def exponents(variance: Tensor, strength: float | Tensor, most: float | None) -> Tensor:
    """(lambda/2) q, or ``most`` where it is more; no gradient comes through what is capped."""
    found: Tensor = (strength / 2) * variance
    return found if most is None else found.clamp(max=most)


def flat_weight(logits: Tensor, weight: Tensor, covariance: Covariance) -> Tensor:
    """W, (c, a), also of a 1 x 1 convolution. Raises ``ValueError`` where shapes do not fit."""
    expected = (covariance.num_classes, covariance.num_features)
    flat = weight.flatten(1) if weight.ndim > 2 else weight
    if tuple(flat.shape) != expected:
        raise ValueError(
            f"weight is the head's, {expected} for this covariance; got {tuple(weight.shape)}"
        )
    if logits.ndim != 2 or logits.shape[1] != covariance.num_classes:
        raise ValueError(f"logits are (n, {expected[0]}); got {tuple(logits.shape)}")
    return flat


def variance_to_target(
    weight: Float[Tensor, "c a"], covariance: Covariance, classes: Int[Tensor, " p"]
) -> Float[Tensor, "p c"]:
    """q_c[j, c] for each class in use."""
    weight = _wide(weight, covariance)
    if not isinstance(covariance, ClassCovariance):
        spread = covariance.spread(weight, classes)
        own = spread[torch.arange(len(classes), device=classes.device), classes]
        return (spread - own.unsqueeze(1)).square().sum(2)
    if covariance.form == "diagonal" and len(classes) * weight.numel() > MOST_DIFFERENCES:
        return _by_products(weight, covariance.diagonals(classes), classes)
    if is_traced():
        difference = weight - weight.index_select(0, classes).unsqueeze(1)
        return (difference * covariance.multiply_each(difference, classes)).sum(2)
    variance: Tensor = _VarianceToTarget.apply(weight, covariance, classes)
    return variance


def _by_products(weight: Tensor, diagonals: Tensor, classes: Tensor) -> Tensor:
    r"""q_c[j, c] of Sigma_c = diag(s_c), without a tensor of p x c x a:

        q_c[j, c] = sum_a s_ca (w_ja - w_ca)^2 = sum_a s_ca w_ja^2 - 2 s_ca w_ca w_ja + s_ca w_ca^2.

    q is that of W less its mean row, whose squares are smaller: less is lost in the differences.
    """
    weight = weight - weight.detach().mean(0)
    own = weight.index_select(0, classes)
    scaled = diagonals * own  # (p, a)
    square = diagonals @ weight.square().T  # (p, c)
    variance = torch.addmm(square, scaled, weight.T, alpha=-2) + (scaled * own).sum(1, keepdim=True)
    return variance.scatter(1, classes.unsqueeze(1), 0)


def grams(
    weight: Float[Tensor, "c a"], covariance: Covariance, classes: Int[Tensor, " p"]
) -> Float[Tensor, "p c c"]:
    """G_c for each class in use, symmetric to the bit."""
    weight = _wide(weight, covariance)
    if not isinstance(covariance, ClassCovariance):
        spread = covariance.spread(weight, classes)
        gram = spread @ spread.mT
        return (gram + gram.mT) / 2
    if is_traced():
        gram = covariance.multiply_each(weight.expand(len(classes), -1, -1), classes) @ weight.T
        return (gram + gram.mT) / 2
    found: Tensor = _ClassGram.apply(weight, covariance, classes)
    return found


def variance_table(
    weight: Float[Tensor, "c a"], covariance: Covariance, classes: Int[Tensor, " p"]
) -> Float[Tensor, "p c c"]:
    """q_c[j, k] = G_jj - 2 G_jk + G_kk for each class asked for; symmetric, with a zero diagonal."""
    gram = grams(weight, covariance, classes)
    own = gram.diagonal(dim1=1, dim2=2)
    table: Tensor = (own.unsqueeze(2) + own.unsqueeze(1)) - 2 * gram
    return table


def variance_about_mean(
    mean: Float[Tensor, "n c"], weight: Float[Tensor, "c a"], covariance: Covariance
) -> Float[Tensor, "n c"]:
    """(e_j - p)^T G (e_j - p), G that of argmax p: the variance of logit j about the mean logit p^T z."""
    classes, positions = classes_in_use(mean.argmax(1), covariance.num_classes)
    gram = grams(weight, covariance, classes)
    mean = mean.to(gram.dtype)
    own = gram.diagonal(dim1=1, dim2=2).index_select(0, positions)
    rows = gram.index_select(0, positions)
    if is_traced():
        return _about_mean(own, rows, mean)
    variance: Tensor = _AboutMean.apply(own, rows, mean)
    return variance


def variance_of_mixture(
    mixture: Float[Tensor, "n c"], weight: Float[Tensor, "c a"], covariance: Covariance
) -> Float[Tensor, "n c"]:
    """(e_j - y)^T G (e_j - y), G = sum_k y_k^2 G_k, for mixtures y of the classes.

    The variance of logit j about the mixture's mean logit y^T z: see ``isda_cross_entropy``. A row
    of one class k has q_k[j, k].
    """
    classes = _classes_of(mixture)
    gram = grams(weight, covariance, classes)
    mixture = mixture.to(gram.dtype)
    squares = mixture.index_select(1, classes).square()  # (n, p)
    own = squares @ gram.diagonal(dim1=1, dim2=2)
    to_mean = torch.einsum("np,pjk,nk->nj", squares, gram, mixture)
    return own - 2 * to_mean + (mixture * to_mean).sum(1, keepdim=True)


def _wide(weight: Tensor, covariance: Covariance) -> Tensor:
    """W in the wider of its own type and the covariance's."""
    return weight.to(torch.promote_types(weight.dtype, covariance.dtype))


def _classes_of(mixture: Tensor) -> Tensor:
    """The classes that a row has a share of, where Python may look and no derivative asks for all."""
    if has_fixed_shapes(mixture) or mixture.requires_grad:
        return torch.arange(mixture.shape[1], device=mixture.device)
    return (mixture != 0).any(0).nonzero().flatten()
