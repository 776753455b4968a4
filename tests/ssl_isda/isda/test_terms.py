"""The two terms of ISDA in the variant that the settings choose."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.isda.propositions import (
    centered_semantic_consistency,
    isda_cross_entropy,
    second_order_consistency,
    semantic_consistency,
)
from ssl_isda.isda.terms import IsdaTerms, class_covariance, strength_ratio
from ssl_isda.losses.consistency import entropy
from ssl_isda.losses.cross_entropy import CrossEntropy
from ssl_isda.tasks.contract import Rows

C, A, N = 3, 4, 6
STEP = Step(5, 10, 2, seed=1)


def terms(step: Step = STEP, **settings) -> tuple[IsdaTerms, Tensor, Tensor]:
    """With features and labels."""
    config = IsdaConfig(**settings)
    g = torch.Generator().manual_seed(0)
    features = torch.randn(N, A, generator=g, dtype=torch.float64, requires_grad=True)
    head = torch.nn.Linear(A, C, dtype=torch.float64)
    head.weight.data.copy_(torch.randn(C, A, generator=g, dtype=torch.float64))
    covariance = class_covariance(config, C, A).double()
    seen = torch.randn(50, A, generator=g, dtype=torch.float64)
    covariance.update(seen @ seen[:A], torch.arange(50) % C)
    return IsdaTerms(config, covariance, head, step), features, torch.arange(N) % C


def supervised(ours: IsdaTerms, logits: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    """The plain cross-entropy of what ISDA makes of labeled rows."""
    rows = ours.augmented(Rows(logits, features, labels))
    return CrossEntropy()(rows, ours.head, ours.step)


def explicit(num_samples: int, **settings) -> tuple[IsdaTerms, Tensor, Tensor]:
    return terms(augmentation="explicit", augmentation_samples=num_samples, **settings)


@pytest.mark.parametrize(
    ("consistency", "semantic"),
    [
        ("upper_bound", semantic_consistency),
        ("centered_bound", centered_semantic_consistency),
        ("second_order", second_order_consistency),
    ],
)
@pytest.mark.parametrize(("schedule", "strength"), [("linear", 0.2), ("constant", 0.4)])
def test_implicit_terms_are_the_closed_forms(consistency, semantic, schedule, strength) -> None:
    ours, features, labels = terms(lambda_0=0.4, lambda_schedule=schedule, consistency=consistency)
    z, (w, sigma) = ours.head(features), (ours.head.weight, ours.covariance)
    expected = isda_cross_entropy(z, labels, w, sigma, strength)
    assert torch.equal(supervised(ours, z, features, labels), expected)
    assert torch.equal(ours.semantic(z, features), semantic(z, w, sigma, strength))


@pytest.mark.parametrize("covariance", ["identity", "full"])
def test_explicit_terms_are_means_over_augmented_features(covariance: str) -> None:
    ours, features, labels = explicit(20_000, lambda_0=0.8, covariance=covariance)
    z = ours.head(features)
    p = z.softmax(1).detach()
    one_hot = F.one_hot(labels, C).double()
    of_labels = augmented_cross_entropy(ours, features, one_hot, 0.4).item()
    semantic = augmented_cross_entropy(ours, features, p, 0.4).item()
    assert supervised(ours, z, features, labels).item() == pytest.approx(of_labels, rel=0.02)
    assert ours.semantic(z, features).item() == pytest.approx(semantic, rel=0.02)
    implicit, _, _ = terms(lambda_0=0.8, covariance=covariance)
    assert of_labels < supervised(implicit, z, features, labels)
    assert semantic < implicit.semantic(z, features)


def augmented_cross_entropy(
    ours: IsdaTerms, features: Tensor, targets: Tensor, strength: float
) -> Tensor:
    """The obvious loop, with draws of its own from N(a, lambda Sigma) of each target's class."""
    g = torch.Generator().manual_seed(9)
    losses = []
    for a, q in zip(features, targets, strict=True):
        values, vectors = torch.linalg.eigh(ours.covariance.matrix(int(q.argmax())))
        noise = torch.randn(20_000, A, generator=g, dtype=torch.float64) * values.sqrt()
        draws = ours.head(a + math.sqrt(strength) * noise @ vectors.T)
        losses.append(-(q * draws.log_softmax(1)).sum(1).mean())
    return torch.stack(losses).mean()


def test_explicit_terms_without_strength_are_the_plain_ones() -> None:
    ours, features, labels = explicit(3, lambda_0=0.0)
    z = ours.head(features)
    plain, semantic = supervised(ours, z, features, labels), ours.semantic(z, features)
    torch.testing.assert_close(plain, F.cross_entropy(z, labels), rtol=1e-12, atol=0)
    torch.testing.assert_close(semantic, entropy(z), rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(semantic, features)
    assert gradient.abs().max() < 1e-15


def test_explicit_gradients_reach_features_and_head_and_no_statistic() -> None:
    ours, features, labels = explicit(4)
    z = ours.head(features)
    for loss in (supervised(ours, z, features, labels), ours.semantic(z, features)):
        gradients = torch.autograd.grad(loss, [features, *ours.head.parameters()])
        assert all(g.norm() > 1e-4 for g in gradients)
    assert not any(buffer.requires_grad for buffer in ours.covariance.buffers())


def test_draws_are_keyed_by_seed_step_and_purpose() -> None:
    built, features, labels = explicit(2, lambda_schedule="constant")
    z = built.head(features)

    def losses(index: int, seed: int) -> tuple[float, float]:
        ours = replace(built, step=Step(index, 10, 2, seed))
        return supervised(ours, z, features, labels).item(), ours.semantic(z, features).item()

    before = torch.get_rng_state()
    assert losses(5, 1) == losses(5, 1)
    for term in zip(losses(5, 1), losses(6, 1), losses(5, 2), strict=True):
        assert len(set(term)) == 3
    assert torch.equal(torch.get_rng_state(), before), "it draws from the global generator"


def test_labeled_and_unlabeled_images_get_noise_of_their_own() -> None:
    """Of a certain prediction the two terms are the same, but for the draws."""
    ours, features, _ = explicit(1, lambda_0=1e6, lambda_schedule="constant", covariance="identity")
    features = 1000 * features
    z = ours.head(features)
    assert z.softmax(1).amax(1).min() > 1 - 1e-9
    of_labels = supervised(ours, z, features, z.argmax(1)).item()
    assert of_labels > 100
    assert ours.semantic(z, features).item() != pytest.approx(of_labels, rel=1e-3)


def test_targets_that_are_classes_get_prop_1_and_probabilities_prop_2() -> None:
    ours, features, labels = terms(lambda_0=0.8)
    z = ours.head(features)
    torch.testing.assert_close(
        ours.cross_entropies(z, labels).mean(), supervised(ours, z, features, labels)
    )
    own = ours.cross_entropies(z, z.detach().softmax(1)).mean()
    torch.testing.assert_close(own, ours.semantic(z, features))
    one_hot = ours.cross_entropies(z, F.one_hot(labels, C).double())
    torch.testing.assert_close(one_hot, ours.cross_entropies(z, labels))


@pytest.mark.parametrize("soft", [False, True])
def test_targets_with_drawn_features_are_means_over_the_draws(soft: bool) -> None:
    ours, features, labels = explicit(20_000, lambda_0=0.8)
    z = ours.head(features)
    target = z.detach().softmax(1) if soft else labels
    q = target if soft else F.one_hot(labels, C).double()
    found = ours.cross_entropies(z, target)
    assert found.shape == (N,)
    expected = augmented_cross_entropy(ours, features, q, 0.4).item()
    assert found.mean().item() == pytest.approx(expected, rel=0.02)


def in_fp32() -> tuple[IsdaTerms, Tensor, Tensor]:
    """Three draws, with logits and labels."""
    ours, features, labels = explicit(3, lambda_0=0.8)
    ours.head.float(), ours.covariance.float()
    return ours, ours.head(features.float()), labels


@pytest.mark.parametrize("soft", [False, True])
def test_targets_with_drawn_features_are_in_fp32_within_autocast(soft: bool) -> None:
    ours, z, labels = in_fp32()
    target = z.detach().softmax(1) if soft else labels
    outside = ours.cross_entropies(z, target)
    with torch.autocast("cpu", torch.bfloat16):
        within = ours.cross_entropies(z, target)
    assert within.dtype == torch.float32 and torch.equal(within, outside)


def test_a_matched_strength_is_in_fp32_within_autocast() -> None:
    ours, _, labels = in_fp32()
    rotated = class_covariance(IsdaConfig(covariance="rotated"), C, A)
    rotated.update(torch.randn(50, A), torch.arange(50) % C)
    given = (ours.weight, ours.covariance, rotated, labels)
    outside = strength_ratio(*given)
    with torch.autocast("cpu", torch.bfloat16):
        within = strength_ratio(*given)
    assert outside > 0 and torch.equal(within, outside)
