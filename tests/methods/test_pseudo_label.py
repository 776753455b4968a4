"""Pseudo-label against its equation."""

from __future__ import annotations

import pytest

from tests.methods import tiny

TAU = 0.5


def reference(network, batch, step):
    p = network(batch.views[0])[0].softmax(1)
    ramp = min(1, step.index / 12 / 0.4)
    sure = [row.max() for row in p if row.max() >= TAU]
    return -ramp * sum(largest.log() for largest in sure) / len(p)


def test_equals_its_equation_over_many_steps() -> None:
    network, _, losses = tiny.train("pseudo_label", threshold=TAU)
    obvious, expected = tiny.train_reference(reference, num_views=1)
    tiny.assert_same_training(losses, expected, network, obvious)


@pytest.mark.parametrize(("threshold", "rests"), [(0.0, False), (1.0, True)])
def test_the_label_is_a_constant_and_a_term_without_labels_rests(threshold, rests) -> None:
    network = tiny.student()
    method = tiny.build("pseudo_label", network, threshold=threshold)
    objective = tiny.Objective(method, None, tiny.C, tiny.A)
    terms = objective(network, tiny.batch(0, 1), tiny.step(9))
    assert bool(terms.resting["consistency"]) == rests
    norms = tiny.gradient_norms(terms.losses["consistency"], network)
    assert max(norms) == 0 if rests else min(norms) > 0


def test_the_weight_ramps_up_linearly_over_two_fifths_of_the_run() -> None:
    method = tiny.build("pseudo_label", tiny.student())
    weights = [method.weight(tiny.step(t, num_steps=100)) for t in (0, 20, 40, 99)]
    assert weights == pytest.approx([0, 0.5, 1, 1])
