"""The Π-model against its equation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ssl_isda.data.views import View
from tests.methods import tiny


def weight(t: int, num_steps: int = 12) -> float:
    """100 exp(-5 (1 - e/80)^2) with 80 of 400 epochs a fifth of the run."""
    return 100 * math.exp(-5 * (1 - min(1, t / num_steps / 0.2)) ** 2)


def squared_difference(network, batch) -> Tensor:
    p, q = (network(v)[0].softmax(1) for v in batch.views)
    u, c = p.shape
    return sum((p[i, k] - q[i, k]) ** 2 for i in range(u) for k in range(c)) / (u * c)


def test_equals_its_equation_over_many_steps() -> None:
    network, _, losses = tiny.train("pi_model")
    reference, expected = tiny.train_reference(
        lambda net, b, s: weight(s.index) * squared_difference(net, b), num_views=2
    )
    tiny.assert_same_training(losses, expected, network, reference)


def test_gradient_flows_through_both_branches() -> None:
    network = tiny.student()
    method, b = tiny.build("pi_model", network), tiny.batch(0, 2)
    first_view = network(b.views[0])
    logits = first_view.logits
    full = tiny.gradient_norms(method(network, b, [first_view], tiny.step(0)), network)
    first = tiny.gradient_norms(
        (logits.softmax(1) - network(b.views[1])[0].softmax(1).detach()).square().mean(), network
    )
    held = first_view._replace(logits=logits.detach())
    second_only = method(network, b, [held], tiny.step(0))
    second = tiny.gradient_norms(second_only, network)
    assert min(full) > 0 and min(first) > 0 and min(second) > 0
    assert full != pytest.approx(first) and full != pytest.approx(second)


@pytest.mark.parametrize(("t", "expected"), [(0, 100 * math.exp(-5)), (200, 100.0), (999, 100.0)])
def test_weight_ramps_up_over_a_fifth_of_the_run(t: int, expected: float) -> None:
    method = tiny.build("pi_model", tiny.student())
    assert method.weight(tiny.step(t, num_steps=1000)) == pytest.approx(expected)


def test_second_pass_has_other_dropout_masks_and_leaves_running_statistics_alone() -> None:
    network = tiny.student(noisy=True).train()
    method, b = tiny.build("pi_model", network), tiny.batch(0, 1)
    before = {k: v.clone() for k, v in network.named_buffers()}
    same = torch.stack([b.views[0]] * 2)
    twice = type(b)(b.images, b.labels, (same[0], same[1]), b.indices)
    with tiny.step(0).global_draws("labeled pass", torch.device("cpu")):
        first = network(same[0])
    for k, v in network.named_buffers():
        before[k] = v.clone()
    assert method(network, twice, [first], tiny.step(0)) > 0, "the masks are the same"
    for k, v in network.named_buffers():
        assert torch.equal(v, before[k])


def test_views_share_the_flip_and_carry_the_papers_noise() -> None:
    method = tiny.build("pi_model", tiny.student())
    assert method.views == (View(noise=0.15), View(same_flip_as=0, noise=0.15))
    other = tiny.build("pi_model", tiny.student(), input_noise=0.3)
    assert [view.noise for view in other.views] == [0.3, 0.3]
