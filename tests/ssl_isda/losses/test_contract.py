"""What holds for every supervised loss, alone and of logits that ISDA has augmented."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.isda.propositions import isda_cross_entropy
from ssl_isda.isda.terms import IsdaTerms, class_covariance
from ssl_isda.losses import LOSSES
from ssl_isda.losses.contract import SupervisedLoss
from ssl_isda.tasks.contract import Rows

C, A, N, STEP = 3, 5, 8, Step(4, 10, 2)


def build(name: str, **options: float) -> SupervisedLoss:
    return LOSSES[name](LOSSES.config(name)(**options), num_classes=C, num_features=A)


def example() -> tuple[Rows, IsdaTerms]:
    torch.manual_seed(0)
    head = torch.nn.Linear(A, C)
    features, labels = torch.randn(N, A, requires_grad=True), torch.arange(N) % C
    config = IsdaConfig(lambda_0=2.0)
    covariance = class_covariance(config, C, A)
    covariance.update(torch.randn(60, A) @ torch.randn(A, A), torch.arange(60) % C)
    return Rows(head(features), features, labels), IsdaTerms(config, covariance, head, STEP)


def smoothed(logits: Tensor, labels: Tensor, share: float) -> Tensor:
    q = torch.stack([torch.full((C,), share / C) for _ in labels])
    q[torch.arange(len(labels)), labels] += 1 - share
    return -(q * logits.log_softmax(1)).sum(1).mean()


@pytest.mark.parametrize("name", LOSSES)
def test_it_is_a_mean_over_rows_that_trains_head_and_features_with_isda_and_without(name) -> None:
    rows, isda = example()
    loss = build(name)
    values = []
    for given in (rows, isda.augmented(rows)):
        value = loss(given, isda.head, STEP)
        twice = Rows(*(torch.cat([part, part]) for part in given))
        torch.testing.assert_close(loss(twice, isda.head, STEP), value)
        gradients = torch.autograd.grad(value, [rows.features, isda.head.weight], retain_graph=True)
        assert value.shape == () and all(g.norm() > 0 for g in gradients)
        values.append(value.item())
    assert values[1] > values[0] > 0  # ISDA asks for more


def test_cross_entropy_of_augmented_logits_is_prop_1_to_the_bit() -> None:
    rows, isda = example()
    ours = build("cross_entropy")(isda.augmented(rows), isda.head, STEP)
    expected = isda_cross_entropy(
        rows.logits, rows.labels, isda.head.weight, isda.covariance, isda.strength
    )
    assert torch.equal(ours, expected)
    gradients = (
        torch.autograd.grad(x, isda.head.weight, retain_graph=True)[0] for x in (ours, expected)
    )
    assert torch.equal(*gradients)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_label_smoothing_is_its_equation(share: float) -> None:
    rows, isda = example()
    for given in (rows, isda.augmented(rows)):
        ours = build("label_smoothing", smoothing=share)(given, isda.head, STEP)
        torch.testing.assert_close(ours, smoothed(given.logits, given.labels, share))
    if share == 0:
        assert torch.equal(ours, F.cross_entropy(given.logits, given.labels))
