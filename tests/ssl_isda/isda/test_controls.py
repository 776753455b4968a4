"""Covariances and terms that ISDA is compared with, against what they are by definition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.propositions import isda_cross_entropy, semantic_consistency
from ssl_isda.isda.terms import IsdaTerms, class_covariance, strength_ratio
from ssl_isda.isda.variances import variance_to_target
from ssl_isda.training import isda_memory
from tests.commands import FAST, answer
from tests.ssl_isda.isda.test_terms import A, C, N, supervised, terms

CONTROLS = {
    "permuted": {"covariance": "permuted"},
    "rotated": {"covariance": "rotated"},
    "shrunk": {"shrinkage": 0.3},
}


def built(name: str) -> tuple[ClassCovariance, Tensor]:
    """The covariance after some features, and its matrices by definition, (C, A, A)."""
    g = torch.Generator().manual_seed(0)
    x, labels = torch.randn(60, A, generator=g, dtype=torch.float64), torch.arange(60) % C
    x = x * torch.arange(1.0, A + 1) * (1 + labels.unsqueeze(1))
    covariance = class_covariance(IsdaConfig(**CONTROLS[name]), C, A).double()
    for part in range(0, 60, 20):
        covariance.update(x[part : part + 20], labels[part : part + 20])
    own = torch.stack([torch.cov(x[labels == c].T, correction=0) for c in range(C)])
    if name == "permuted":
        return covariance, torch.stack([own[c - 1] for c in range(C)])
    if name == "rotated":
        return covariance, covariance.rotation @ own @ covariance.rotation.T
    sphere = [matrix.trace() / A * torch.eye(A, dtype=torch.float64) for matrix in own]
    return covariance, 0.7 * own + 0.3 * torch.stack(sphere)


@pytest.mark.parametrize("name", CONTROLS)
def test_matrices_products_draws_and_losses_are_those_of_the_definition(name: str) -> None:
    covariance, expected = built(name)
    found = torch.stack([covariance.matrix(c) for c in range(C)])
    torch.testing.assert_close(found, expected)
    directions = torch.randn(C, 2, A, dtype=torch.float64)
    for classes in (torch.arange(C), torch.tensor([2, 0])):
        some = directions[: len(classes)]
        torch.testing.assert_close(
            covariance.multiply_each(some, classes), some @ expected[classes]
        )
    draws = covariance.draw(torch.tensor([1]), 200_000, torch.Generator().manual_seed(1))[:, 0]
    assert (torch.cov(draws.T) - expected[1]).abs().max() < 0.02 * expected[1].max()
    weight = torch.randn(C, A, dtype=torch.float64)
    difference = weight - weight[1]
    q = ((difference @ expected[1]) * difference).sum(1)
    torch.testing.assert_close(variance_to_target(weight, covariance, torch.tensor([1]))[0], q)


def test_a_rotation_keeps_the_spectrum_and_turns_the_directions() -> None:
    covariance, expected = built("rotated")
    rotation = covariance.rotation
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(A, dtype=torch.float64))
    own = rotation.T @ expected @ rotation
    torch.testing.assert_close(torch.linalg.eigvalsh(own), torch.linalg.eigvalsh(expected))
    assert (expected - own).abs().amax((1, 2)).min() > 0.1


def test_a_permuted_covariance_leaves_out_what_it_is_told_to_ignore() -> None:
    with_others, without = (class_covariance(IsdaConfig(covariance="permuted"), C, A) for _ in "ab")
    x, labels = torch.randn(12, A), torch.arange(12) % C
    without.update(x, labels)
    with_others.update(
        torch.cat([x, 9 + x]), torch.cat([labels, torch.full((12,), -1)]), ignore_index=-1
    )
    torch.testing.assert_close(with_others.scatter, without.scatter)
    with pytest.raises(ValueError, match="got 3"):
        without.update(x, labels + 1)


@pytest.mark.parametrize("covariance", ["identity", "shared", "diagonal", "permuted", "rotated"])
def test_a_matched_strength_gives_the_batch_the_mean_variance_of_full_covariances(
    covariance: str,
) -> None:
    full, _, labels = terms()
    control, _, _ = terms(covariance=covariance)
    assert isinstance(full.covariance, ClassCovariance)
    labels = labels[: N - 1]
    ratio = strength_ratio(full.weight, full.covariance, control.covariance, labels)

    def mean_q(ours: IsdaTerms) -> Tensor:
        return torch.stack(
            [variance_to_target(ours.weight, ours.covariance, c.view(1)).mean() for c in labels]
        ).mean()

    torch.testing.assert_close(ratio * mean_q(control), mean_q(full))
    matched = replace(control, ratio=ratio)
    torch.testing.assert_close(matched.strength, control.strength * ratio)


def test_a_threshold_leaves_out_uncertain_images() -> None:
    ours, features, _ = terms(semantic_threshold=0.6, lambda_0=0.8)
    logits = ours.head(features)
    is_certain = logits.softmax(1).amax(1) >= 0.6
    assert 0 < is_certain.sum() < N
    shared = (ours.weight, ours.covariance, ours.strength)
    expected = semantic_consistency(logits[is_certain], *shared, reduction="sum") / N
    torch.testing.assert_close(ours.semantic(logits, features), expected)


def test_other_classes_than_the_predicted_ones_choose_the_covariances() -> None:
    """Prop. 2 row by row: sum_k p_k (log sum_j exp(z_j + lambda/2 q[j, k]) - z_k), q of a given class."""
    ours, features, labels = terms(lambda_0=0.8)
    logits, classes = ours.head(features), labels.flip(0)
    assert isinstance(ours.covariance, ClassCovariance)
    assert (logits.argmax(1) != classes).any()
    rows = []
    for z, c in zip(logits, classes, strict=True):
        gaps = ours.weight.unsqueeze(1) - ours.weight
        q = ((gaps @ ours.covariance.matrix(int(c))) * gaps).sum(2)
        bounds = (z.unsqueeze(1) + ours.strength / 2 * q).logsumexp(0) - z
        rows.append((z.softmax(0) * bounds).sum())
    found = ours.semantic(logits, features, classes)
    torch.testing.assert_close(found, torch.stack(rows).mean())
    assert not torch.isclose(found, ours.semantic(logits, features))


def test_entropy_takes_the_place_of_the_semantic_term_and_labeled_images_keep_theirs() -> None:
    ours, features, labels = terms(consistency="entropy", lambda_0=0.8)
    logits = ours.head(features)
    p = logits.softmax(1)
    torch.testing.assert_close(ours.semantic(logits, features), -(p * p.log()).sum(1).mean())
    expected = isda_cross_entropy(logits, labels, ours.weight, ours.covariance, ours.strength)
    assert torch.equal(supervised(ours, logits, features, labels), expected)


def test_the_weight_of_the_semantic_term_grows_over_its_share_of_the_run() -> None:
    config = IsdaConfig(eta_1=2.0, eta_1_ramp=0.5)
    assert [config.semantic_weight(p) for p in (0.0, 0.25, 0.5, 1.0)] == [0.0, 1.0, 2.0, 2.0]
    assert IsdaConfig(eta_1=2.0).semantic_weight(0.0) == 2.0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"semantic_classes": "average", "consistency": "second_order"}, "upper_bound and"),
        ({"shrinkage": 0.1, "covariance": "diagonal"}, "shrinkage is of full covariances"),
        ({"matched_strength": True}, "got covariance full"),
        (
            {
                "semantic_threshold": 0.5,
                "augmentation": "explicit",
                "augmentation_samples": 1,
            },
            "augmentation implicit alone",
        ),
    ],
)
def test_contradictions_are_told(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        IsdaConfig(**settings)


def test_a_matched_strength_needs_the_memory_of_full_covariances(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """16.8 GB of 1,000 classes with 2,048 features, also beside the diagonal ones that are advised."""
    shape = (1000, 2048, 128, torch.device("cpu"))
    monkeypatch.setattr(isda_memory, "free_bytes", lambda device: 18 * 10**9)
    isda_memory.refuse_what_does_not_fit("identity", *shape)
    with pytest.raises(UsageError, match=r"identity and full covariances of .* about 19\.9 GB"):
        isda_memory.refuse_what_does_not_fit("identity", *shape, matched=True)
    with pytest.raises(UsageError, match=r"--covariance diagonal needs 3\.1 GB"):
        isda_memory.refuse_what_does_not_fit("rotated", *shape)
    with pytest.raises(UsageError, match="smaller --batch-size and"):
        isda_memory.refuse_what_does_not_fit("rotated", *shape, matched=True)


def test_a_run_with_a_matched_strength_is_refused_where_it_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    enough = isda_memory.isda_bytes("identity", 10, 16, 600, every_class=False, semantic=False)
    monkeypatch.setattr(isda_memory, "free_bytes", lambda device: enough + 1)
    words = [*FAST, "--method", "supervised", "--isda", "--covariance", "identity", "--steps", "1"]
    code, _, line = answer([*words, "--matched-strength"], tmp_path)
    assert code == 2 and "ISDA with identity and full covariances of 10 classes" in line
    assert answer([*words, "--fresh"], tmp_path).code == 0
