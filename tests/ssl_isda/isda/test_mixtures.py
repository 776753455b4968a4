"""Soft targets, smoothed ones and class weights: bounds of the losses whose expectation they name."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.learned import LearnedCovariance
from ssl_isda.isda.propositions import (
    augmented_logits,
    isda_cross_entropy,
    sampled_isda_cross_entropy,
    sampled_logits,
)
from tests.ssl_isda.isda.test_propositions import FORMS, problem

C, A, DRAWS = 5, 6, 5000
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.1, 3.0], dtype=torch.float64)
LABELS = torch.tensor([0, 3, 1, 4, 2, 0, 1, 3])


def mixtures(n: int = 8) -> Tensor:
    """Rows of one, of two and of all classes."""
    rows = torch.zeros(n, C, dtype=torch.float64)
    for i in range(n):
        share = [1.0, 0.5, 0.8, 0.99][i % 4]
        rows[i, i % C] += share
        rows[i, (i + 2) % C] += 1 - share
    rows[-1] = torch.arange(1, C + 1).double() / 15
    return rows


def covariance_of(mixture: Tensor, covariance: ClassCovariance) -> Tensor:
    """That of sum_k y_k a~_k, whose parts are augmented independently."""
    return sum(
        (share**2 * covariance.matrix(k) for k, share in enumerate(mixture)), torch.zeros(())
    )


def obvious(z: Tensor, mixture: Tensor, w: Tensor, covariance, strength: float) -> Tensor:
    """The bound row by row, class by class."""
    losses = []
    for row, y in zip(z, mixture, strict=True):
        sigma, center = covariance_of(y, covariance), sum(s * w[k] for k, s in enumerate(y))
        v = torch.stack([(w_j - center) @ sigma @ (w_j - center) for w_j in w])
        losses.append((row + strength / 2 * v).logsumexp(0) - y @ row)
    return torch.stack(losses)


def drawn(features, mixture, head, covariance, strength: float, n: int) -> Tensor:
    """Logits of a~, with draws from each Sigma_k of their own, (m, rows, c)."""
    g = torch.Generator().manual_seed(3)
    augmented = features.expand(n, -1, -1)
    for k in range(C):
        values, vectors = torch.linalg.eigh(covariance.matrix(k))
        noise = torch.randn(n, len(features), A, generator=g, dtype=torch.float64)
        noise = noise * values.clamp(min=0).sqrt() @ vectors.T
        augmented = augmented + math.sqrt(strength) * mixture[:, k].view(1, -1, 1) * noise
    return head(augmented)


def cross_entropy(logits: Tensor, target: Tensor, class_weight=None, label_smoothing=0.0) -> Tensor:
    return F.cross_entropy(
        logits, target, class_weight, reduction="none", label_smoothing=label_smoothing
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_bound_of_a_mixture_is_its_equation(form: str) -> None:
    features, _, head, covariance = problem(n=8, form=form)
    features.requires_grad_()
    rows, mixture = head(features), mixtures()
    expected = obvious(rows, mixture, head.weight, covariance, 0.7)
    ours = isda_cross_entropy(rows, mixture, head.weight, covariance, 0.7, reduction="none")
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=0)
    inputs = [features, *head.parameters()]
    for got, right in zip(
        torch.autograd.grad(ours.mean(), inputs, retain_graph=True),
        torch.autograd.grad(expected.mean(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(got, right, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("form", [*FORMS, "learned"])
def test_a_mixture_of_one_class_is_proposition_1(form: str) -> None:
    features, labels, head, estimated = problem(form="full" if form == "learned" else form)
    covariance = LearnedCovariance(C, A).double() if form == "learned" else estimated
    one_hot, rows = F.one_hot(labels, C).double(), head(features)
    for options in ({}, {"label_smoothing": 0.3, "class_weight": WEIGHTS, "reduction": "sum"}):
        losses = [
            isda_cross_entropy(rows, target, head.weight, covariance, 0.7, **options)
            for target in (labels, one_hot)
        ]
        torch.testing.assert_close(*losses, rtol=1e-12, atol=0)
        got, right = (torch.autograd.grad(x, head.weight, retain_graph=True)[0] for x in losses)
        torch.testing.assert_close(got, right, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("strength", [0.02, 0.3, 2.0])
@pytest.mark.parametrize("soft", [False, True])
def test_the_bound_stands_above_its_expectation(strength: float, soft: bool) -> None:
    """Row by row, against explicit draws that know nothing of the closed form."""
    features, _, head, covariance = problem(n=8)
    with torch.no_grad():
        head.weight *= 0.5
    mixture = mixtures() if soft else F.one_hot(LABELS, C).double()
    draws = drawn(features, mixture, head, covariance, strength, DRAWS).flatten(0, 1)
    labels = mixture if soft else LABELS
    for options in ({}, {"label_smoothing": 0.3}, {"class_weight": WEIGHTS}):
        losses = cross_entropy(draws, mixture.repeat(DRAWS, 1), **options).view(DRAWS, -1)
        mean, error = losses.mean(0), losses.std(0) / math.sqrt(DRAWS)
        bound, plain = (
            isda_cross_entropy(
                head(features), labels, head.weight, covariance, lam, reduction="none", **options
            )
            for lam in (strength, 0.0)
        )
        assert (bound > mean - 3 * error - 1e-9).all()
        assert error.max() < 0.05 * bound.mean(), "the check would be blind"
        assert bound.mean() > plain.mean() + error.max()
        assert (mean > plain - 3 * error - 1e-9).all()


def test_the_cross_entropy_of_augmented_logits_is_no_bound_of_a_smoothed_one() -> None:
    """Why ``isda_cross_entropy`` adds what it does: of a sure network it is below the expectation."""
    _, _, head, covariance = problem(n=8)
    sure = 300.0 * F.one_hot(LABELS, C).double()
    plain = F.cross_entropy(sure, LABELS, label_smoothing=0.1)  # <= the expectation, by Jensen
    logits = augmented_logits(sure, LABELS, head.weight, covariance, 0.5)
    assert F.cross_entropy(logits, LABELS, label_smoothing=0.1) < plain - 0.1
    bound = isda_cross_entropy(sure, LABELS, head.weight, covariance, 0.5, label_smoothing=0.1)
    assert bound > plain - 1e-9


def test_it_is_lower_than_the_mean_of_the_bounds_about_each_class() -> None:
    features, _, head, covariance = problem(n=8)
    rows, mixture, w = head(features), mixtures(), head.weight
    ours = isda_cross_entropy(rows, mixture, w, covariance, 0.7, reduction="none")
    for row, y, bound in zip(rows, mixture, ours, strict=True):
        sigma = covariance_of(y, covariance)
        about = [
            torch.stack([row[j] + 0.35 * (w[j] - w[k]) @ sigma @ (w[j] - w[k]) for j in range(C)])
            for k in range(C)
        ]
        mean = sum(y[k] * (about[k].logsumexp(0) - row[k]) for k in range(C))
        assert bound <= mean + 1e-12
        assert bound < mean - 1e-3 or y.max() > 0.98


def test_explicit_draws_of_a_mixture_have_its_covariance() -> None:
    features, _, head, covariance = problem(n=2)
    mixture = torch.tensor([[0.3, 0.7, 0, 0, 0], [0, 0, 0.5, 0, 0.5]], dtype=torch.float64)
    given = (features, mixture, head.weight, head.bias, covariance, 0.5)
    draws = sampled_logits(*given, 20_000, torch.Generator().manual_seed(0))
    for i, y in enumerate(mixture):
        expected = 0.5 * head.weight @ covariance_of(y, covariance) @ head.weight.T
        torch.testing.assert_close(
            draws[:, i].T.cov(), expected, rtol=0.1, atol=0.05 * expected.max().item()
        )
    loss = sampled_isda_cross_entropy(
        *given, num_samples=20_000, generator=torch.Generator().manual_seed(0)
    )
    assert loss < isda_cross_entropy(head(features), *given[1:3], covariance, 0.5)


def test_shares_that_do_not_sum_to_one_weigh_a_row() -> None:
    """A row of zeros does not count, as in ``F.cross_entropy``."""
    features, _, head, covariance = problem(n=8)
    rows, mixture = head(features), mixtures()
    scale = torch.tensor([0.0, 2.0, 1.0, 1.0, 0.5, 1.0, 1.0, 3.0], dtype=torch.float64)
    each, scaled = (
        isda_cross_entropy(rows, y, head.weight, covariance, 0.7, reduction="none")
        for y in (mixture, scale.unsqueeze(1) * mixture)
    )
    torch.testing.assert_close(scaled, scale * each)
