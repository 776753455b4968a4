"""Temporal ensembling against a loop over images that keeps its averages in a dictionary."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.methods import tiny


class Reference:
    """Z, n and this epoch's predictions, image by image."""

    def __init__(self) -> None:
        self.ensemble: dict[int, Tensor] = {}
        self.epochs_seen: dict[int, int] = {}
        self.this_epoch: dict[int, Tensor] = {}

    def target(self, i: int) -> Tensor | None:
        if i not in self.ensemble:
            return None
        return self.ensemble[i] / (1 - 0.6 ** self.epochs_seen[i])

    def consistency(self, network, batch, step) -> Tensor:
        p = network(batch.views[0])[0].softmax(1)
        total = torch.zeros((), dtype=torch.float64)
        for row, i in enumerate(batch.indices.tolist()):
            self.this_epoch[i] = p[row].detach()
            target = self.target(i)
            if target is not None:
                total = total + ((p[row] - target) ** 2).sum()
        ramp = math.exp(-5 * (1 - min(1, step.index / 12 / 0.2)) ** 2)
        return (0 if step.epoch == 0 else 30 * ramp) * total / p.numel()

    def after_step(self, network, batch, step) -> None:
        if (step.index + 1) % 3:
            return
        for i, p in self.this_epoch.items():
            self.ensemble[i] = 0.6 * self.ensemble.get(i, torch.zeros(tiny.C)) + 0.4 * p
            self.epochs_seen[i] = self.epochs_seen.get(i, 0) + 1
        self.this_epoch = {}


def test_equals_its_equations_over_four_epochs() -> None:
    network, objective, losses = tiny.train("temporal_ensembling")
    state = Reference()
    reference, expected = tiny.train_reference(state.consistency, state.after_step, num_views=1)
    tiny.assert_same_training(losses, expected, network, reference)
    method = objective.regularizer
    for i in range(tiny.N):
        target = state.target(i)
        if target is not None:
            torch.testing.assert_close(method.targets(torch.tensor([i]))[0], target)
            torch.testing.assert_close(target.sum().item(), 1.0)
    assert len(set(state.epochs_seen.values())) > 1, "every image was seen equally often"


def test_gradient_reaches_the_student_and_not_the_targets() -> None:
    network, objective, _ = tiny.train("temporal_ensembling")
    b, method = tiny.batch(3, 1), objective.regularizer
    loss = method(network, b, [network(b.views[0])], tiny.step(9))
    assert min(tiny.gradient_norms(loss, network)) > 0
    assert not method.targets(b.indices).requires_grad
    assert not any(buffer.requires_grad for buffer in method.buffers())


def test_an_image_without_a_target_adds_nothing() -> None:
    network = tiny.student()
    method, b = tiny.build("temporal_ensembling", network), tiny.batch(0, 1)
    loss = method(network, b, [network(b.views[0])], tiny.step(3))
    assert loss == 0


@pytest.mark.parametrize(("t", "expected"), [(0, 0.0), (2, 0.0), (3, 30.0), (11, 30.0)])
def test_weight_is_zero_in_the_first_epoch(t: int, expected: float) -> None:
    method = tiny.build("temporal_ensembling", tiny.student())
    assert method.weight(tiny.step(t)) == pytest.approx(expected)
