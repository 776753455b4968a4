"""The cap on (lambda/2) q: nothing changes below it, and what lies beyond it neither adds nor pulls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_isda.isda.config import IsdaConfig
from ssl_isda.isda.modules import ISDALoss, SemanticConsistency
from ssl_isda.isda.propositions import (
    augmented_logits,
    centered_semantic_consistency,
    isda_cross_entropy,
    semantic_consistency,
    soft_isda_cross_entropies,
    variance_table,
)
from tests.commands import SUPERVISED, answer
from tests.ssl_isda.isda.test_controls import supervised, terms
from tests.ssl_isda.isda.test_propositions import problem

STRENGTH = 0.7


def _of_mixtures(logits: Tensor, labels: Tensor, *given: object, **options: object) -> Tensor:
    shares = 0.5 * (F.one_hot(labels, 5) + F.one_hot(labels.flip(0), 5)).to(logits.dtype)
    return isda_cross_entropy(logits, shares, *given, **options)


FORMS: dict[str, Callable[..., Tensor]] = {
    "proposition_1": isda_cross_entropy,
    "mixtures": _of_mixtures,
    "logits": lambda *given, **options: augmented_logits(*given, **options).logsumexp(1).mean(),
    "proposition_2": lambda z, _, *given, **options: semantic_consistency(z, *given, **options),
    "centered": lambda z, _, *given, **options: centered_semantic_consistency(z, *given, **options),
    "soft": lambda z, _, *given, **options: soft_isda_cross_entropies(
        z, z.detach().softmax(1), *given, **options
    ).mean(),
}


def value_and_gradients(form: str, **options: object) -> list[Tensor]:
    features, labels, head, covariance = problem()
    loss = FORMS[form](head(features), labels, head.weight, covariance, STRENGTH, **options)
    return [loss, *torch.autograd.grad(loss, head.parameters())]


def largest_exponent() -> float:
    _, _, head, covariance = problem()
    return STRENGTH / 2 * variance_table(head.weight, covariance, torch.arange(5)).max().item()


@pytest.mark.parametrize("form", FORMS)
def test_a_cap_that_nothing_reaches_changes_no_bit(form: str) -> None:
    plain = value_and_gradients(form)
    for ours, expected in zip(
        value_and_gradients(form, max_exponent=largest_exponent()), plain, strict=True
    ):
        assert torch.equal(ours, expected)
    capped = value_and_gradients(form, max_exponent=largest_exponent() / 100)
    assert capped[0] < plain[0] and not torch.equal(capped[1], plain[1])


def test_what_is_capped_counts_as_a_constant() -> None:
    features, labels, head, covariance = problem()
    most = largest_exponent() / 10
    q = variance_table(head.weight, covariance, labels)[torch.arange(9), :, labels]
    exponent = STRENGTH / 2 * q
    assert (exponent < most).any() and (exponent > most).any()
    kept = torch.where(exponent < most, exponent, most)
    expected = F.cross_entropy(head(features) + kept, labels)
    given = (head(features), labels, head.weight, covariance, STRENGTH)
    ours = isda_cross_entropy(*given, max_exponent=most)
    torch.testing.assert_close(ours, expected)
    gradients = (torch.autograd.grad(loss, head.weight)[0] for loss in (ours, expected))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    "consistency", ["upper_bound", "centered_bound", "second_order", "entropy"]
)
def test_the_terms_of_a_run_hand_it_on(consistency: str) -> None:
    most = 1e-3
    ours, features, labels = terms(consistency=consistency, lambda_0=0.8, max_exponent=most)
    logits = ours.head(features)
    given = (ours.weight, ours.covariance, ours.strength)
    expected = isda_cross_entropy(logits, labels, *given, max_exponent=most)
    assert torch.equal(supervised(ours, logits, features, labels), expected)
    of_row = partial(ours.cross_entropies, logits)
    target = logits.softmax(1)
    expected = soft_isda_cross_entropies(logits, target, *given, max_exponent=most)
    assert torch.equal(of_row(target), expected)
    expected = isda_cross_entropy(logits, labels, *given, reduction="none", max_exponent=most)
    assert torch.equal(of_row(labels), expected)
    expected = isda_cross_entropy(logits, target, *given, reduction="none", max_exponent=most)
    assert torch.equal(of_row(target, mixed=True), expected)
    without, _, _ = terms(consistency=consistency, lambda_0=0.8)
    is_capped = not torch.equal(ours.semantic(logits, features), without.semantic(logits, features))
    assert is_capped == (consistency in ("upper_bound", "centered_bound"))


@pytest.mark.parametrize("bound", ["upper_bound", "centered_bound", "second_order"])
def test_the_modules_have_it(bound: str) -> None:
    features, labels, head, _ = problem(dtype=torch.float32)
    found = {}
    for most in (None, 1e9, 1e-3):
        isda = ISDALoss(5, 6, total_steps=2, lambda_0=3.0, max_exponent=most)
        semantic = SemanticConsistency(isda, bound)
        isda(features, labels, head)
        found[most] = (isda(features, labels, head), semantic(features, head))
    assert all(map(torch.equal, found[None], found[1e9]))
    assert found[1e-3][0] < found[None][0]
    assert (found[1e-3][1] < found[None][1]) == (bound != "second_order")
    with pytest.raises(ValueError, match="more than 0; got 0"):
        ISDALoss(5, 6, total_steps=2, max_exponent=0)
    assert "max_exponent=0.001" in repr(isda) and "max" not in repr(ISDALoss(5, 6, 2))


def test_explicit_draws_have_no_exponent() -> None:
    with pytest.raises(ValueError, match="max_exponent goes with augmentation implicit alone"):
        IsdaConfig(augmentation="explicit", augmentation_samples=2, max_exponent=50.0)


@pytest.mark.fault(55)
def test_fault_55_a_run_whose_strength_would_break_it_ends_with_a_cap(tmp_path) -> None:
    words = [*SUPERVISED, "--isda", "--lambda-0", "1e8", "--max-exponent", "50"]
    assert answer(words, tmp_path).code == 0
