"""What is looked at beside the losses, against counting by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.training.diagnostics import (
    CONFIDENT,
    PseudoLabels,
    gradient_norm,
    mean_variance,
)


def one_hot(*classes: int) -> torch.Tensor:
    """Logits that leave no doubt."""
    return 20.0 * torch.eye(3)[list(classes)]


def test_pseudo_labels_are_counted_over_all_batches() -> None:
    counts = PseudoLabels()
    counts.add(one_hot(0, 1, 2, 2), one_hot(0, 1, 1, 2), torch.tensor([0, 1, 1, -1]))
    counts.add(torch.zeros(2, 3), one_hot(0, 1), torch.tensor([0, -1]))  # argmax of a tie: 0
    assert counts.percentages() == pytest.approx(
        {
            "pseudo_label_accuracy": 100 * 3 / 4,  # of the four whose label is known
            "confident_share": 100 * 4 / 6,
            "agreement": 100 * 4 / 6,
        }
    )


def test_nothing_is_said_about_what_is_not_there() -> None:
    counts = PseudoLabels()
    counts.add(one_hot(0, 1), None, torch.tensor([-1, -1]))
    assert counts.percentages() == {"confident_share": 100.0}


@pytest.mark.parametrize(("largest", "share"), [(CONFIDENT + 1e-4, 100.0), (CONFIDENT - 1e-4, 0.0)])
def test_confident_is_a_probability(largest: float, share: float) -> None:
    counts = PseudoLabels()
    counts.add(torch.tensor([[largest, 1 - largest]]).log(), None, torch.tensor([0]))
    assert counts.percentages()["confident_share"] == share


@pytest.mark.parametrize("form", ["full", "diagonal", "shared"])
def test_mean_variance_is_that_of_all_classes_and_features(form: str) -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(60, 4), torch.arange(60) % 3
    covariance = ClassCovariance(3, 4, form)
    covariance.update(features, labels)
    groups = [features] if form == "shared" else [features[labels == c] for c in range(3)]
    expected = torch.stack([group.var(0, unbiased=False) for group in groups]).mean()
    assert mean_variance(covariance) == pytest.approx(expected.item(), rel=1e-5)


def test_gradient_norm_is_that_of_all_parameters_together() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    loss = network(torch.ones(4, 3)).square().mean()
    norm = gradient_norm(loss, network.parameters())
    loss.backward()  # the graph was kept, and nothing was written
    squares = [p.grad.square().sum().item() for p in network.parameters()]
    assert norm.item() == pytest.approx(math.sqrt(sum(squares)), rel=1e-6)


def test_gradient_norm_is_0_without_a_path() -> None:
    network, other = nn.Linear(3, 2), torch.ones(3, requires_grad=True)
    assert gradient_norm(other.sum(), network.parameters()) == 0
    assert gradient_norm(other.sum().detach(), network.parameters()) == 0
