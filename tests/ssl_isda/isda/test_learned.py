"""Covariances that gradient descent learns: what they are, what moves them, what holds them up."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.learned import LearnedCovariance
from ssl_isda.isda.propositions import (
    centered_semantic_consistency,
    isda_cross_entropy,
    sampled_isda_cross_entropy,
    sampled_semantic_consistency,
    second_order_consistency,
    semantic_consistency,
)

C, A, N = 4, 3, 7
CLOSED_FORMS = [semantic_consistency, centered_semantic_consistency, second_order_consistency]


def learned(seed: int = 0) -> LearnedCovariance:
    covariance = LearnedCovariance(C, A).double()
    noise = torch.randn(C, A, A, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    covariance.root.data += 0.5 * noise
    return covariance


def estimated(covariance: LearnedCovariance) -> ClassCovariance:
    """The other kind, holding the same matrices."""
    twin = ClassCovariance(C, A).double()
    twin.count.fill_(1)
    twin.scatter.copy_(torch.stack([covariance.matrix(c) for c in range(C)]))
    return twin


def problem() -> tuple[Tensor, Tensor, torch.nn.Linear]:
    g = torch.Generator().manual_seed(1)
    features = torch.randn(N, A, generator=g, dtype=torch.float64)
    head = torch.nn.Linear(A, C, dtype=torch.float64)
    head.weight.data.copy_(torch.randn(C, A, generator=g, dtype=torch.float64))
    head.bias.data.copy_(torch.randn(C, generator=g, dtype=torch.float64))
    return features, torch.arange(N) % C, head


def test_it_begins_at_the_identity_and_no_batch_changes_it() -> None:
    covariance = LearnedCovariance(C, A)
    covariance.update(torch.randn(8, A), torch.arange(8) % C)
    assert all(torch.equal(covariance.matrix(c), torch.eye(A)) for c in range(C))
    assert list(covariance.state_dict()) == ["root"]


def test_closed_forms_equal_those_of_an_estimate_and_also_move_the_covariance() -> None:
    features, labels, head = problem()
    covariance = learned()
    logits = head(features)
    twin = estimated(covariance)
    losses = [
        [isda_cross_entropy(logits, labels, head.weight, sigma, 0.7)]
        + [form(logits, head.weight, sigma, 0.7) for form in CLOSED_FORMS]
        for sigma in (covariance, twin)
    ]
    for ours, reference in zip(*losses, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-10, atol=0)
        ours_by = torch.autograd.grad(ours, [*head.parameters()], retain_graph=True)
        reference_by = torch.autograd.grad(reference, [*head.parameters()], retain_graph=True)
        torch.testing.assert_close(ours_by, reference_by, rtol=1e-9, atol=1e-12)
        (moved,) = torch.autograd.grad(ours, covariance.root, retain_graph=True)
        assert moved.norm() > 1e-3


@pytest.mark.parametrize("form", CLOSED_FORMS, ids=lambda form: form.__name__)
def test_the_gradient_of_the_covariance_is_the_derivative_of_the_loss(form) -> None:
    features, labels, head = problem()
    covariance, weight, logits = learned(), head.weight.detach(), head(features).detach()
    for loss in (
        lambda: isda_cross_entropy(logits, labels, weight, covariance, 0.7),
        lambda: form(logits, weight, covariance, 0.7),
    ):
        (gradient,) = torch.autograd.grad(loss(), covariance.root)
        direction = torch.randn(C, A, A, dtype=torch.float64)
        covariance.root.data += 1e-5 * direction
        above = loss().item()
        covariance.root.data -= 2e-5 * direction
        slope = (above - loss().item()) / 2e-5
        covariance.root.data += 1e-5 * direction
        assert slope == pytest.approx((gradient * direction).sum().item(), rel=1e-6)


def test_draws_are_reparameterised_noise() -> None:
    """a~ - a = D_y eps for the generator's eps, image by image, with a gradient to D."""
    covariance, labels = learned(), torch.tensor([2, 0, 2, 3])
    draws = covariance.draw(labels, 5, torch.Generator().manual_seed(3))
    noise = torch.randn(
        5, 4, A, generator=torch.Generator().manual_seed(3), dtype=covariance.root.dtype
    )
    for i, y in enumerate(labels.tolist()):
        for k in range(5):
            torch.testing.assert_close(draws[k, i], covariance.root[y] @ noise[k, i])
    (gradient,) = torch.autograd.grad(draws.square().sum(), covariance.root)
    present = gradient.flatten(1).norm(dim=1) > 0
    assert present.tolist() == [True, False, True, True]


def test_many_draws_give_the_loss_of_the_same_estimated_covariance() -> None:
    features, labels, head = problem()
    covariance = learned()
    means = []
    for sigma in (covariance, estimated(covariance)):
        kwargs = {"num_samples": 40_000, "generator": torch.Generator().manual_seed(0)}
        args = (head.weight, head.bias, sigma, 0.5)
        supervised = sampled_isda_cross_entropy(features, labels, *args, **kwargs)
        means.append([supervised, sampled_semantic_consistency(features, *args, **kwargs)])
    for ours, reference in zip(*means, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-2, atol=0)


def test_uncertainty_loss_is_the_missing_entropy_of_a_gaussian() -> None:
    covariance = learned()
    covariance.root.data *= 0.5
    entropies = [
        torch.distributions.MultivariateNormal(torch.zeros(A).double(), covariance.matrix(c))
        .entropy()
        .item()
        for c in range(C)
    ]
    unit = 0.5 * math.log(2 * math.pi * math.e)
    expected = unit - sum(entropies) / C / A
    assert expected > 0.1
    assert covariance.uncertainty_loss().item() == pytest.approx(expected, rel=1e-10)
    covariance.root.data *= 8
    assert covariance.uncertainty_loss() == 0
    assert LearnedCovariance(C, A).uncertainty_loss() == 0


def test_the_uncertainty_loss_keeps_the_covariance_from_collapsing() -> None:
    features, labels, head = problem()
    volumes = []
    for weight in (0.0, 1.0):
        covariance = LearnedCovariance(C, A).double()
        for t in range(200):
            noise = torch.Generator().manual_seed(t)
            loss = sampled_isda_cross_entropy(
                *(features, labels, head.weight, head.bias, covariance, 0.5),
                num_samples=2,
                generator=noise,
            )
            loss = loss + weight * covariance.uncertainty_loss()
            (gradient,) = torch.autograd.grad(loss, covariance.root)
            covariance.root.data -= 0.3 * gradient
        volumes.append(covariance.root.det().abs().log().mean().item())
    assert volumes[0] < -1.5 and volumes[1] > -0.2


def test_errors_and_looks() -> None:
    with pytest.raises(ValueError, match="at least 1 class and 1 feature are needed; got 0 and 3"):
        LearnedCovariance(0, 3)
    assert "classes=4, features=3" in repr(LearnedCovariance(4, 3))


def test_strength_zero_is_cross_entropy_to_the_bit() -> None:
    features, labels, head = problem()
    logits = head(features)
    ours = isda_cross_entropy(logits, labels, head.weight, learned(), 0.0)
    assert torch.equal(ours, F.cross_entropy(logits, labels))
