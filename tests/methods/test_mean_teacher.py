"""Mean Teacher against a teacher averaged by hand."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.isda.config import IsdaConfig
from tests.methods import tiny


class Reference:
    """A copy of the student, moved parameter by parameter."""

    def __init__(self) -> None:
        self.teacher = copy.deepcopy(tiny.student())

    def consistency(self, network, batch, step) -> Tensor:
        p, q = network(batch.views[0])[0].softmax(1), self.teacher(batch.views[1])[0].softmax(1)
        q = q.detach()
        total = sum((p[i, k] - q[i, k]) ** 2 for i in range(6) for k in range(tiny.C))
        return 100 * math.exp(-5 * (1 - min(1, step.index / 12 / 0.2)) ** 2) * total / (6 * tiny.C)

    def after_step(self, network, batch, step) -> None:
        steps_taken = step.index + 1
        a = min(1 - 1 / (steps_taken + 1), 0.9)
        for old, new in zip(self.teacher.parameters(), network.parameters(), strict=True):
            old.data = a * old.data + (1 - a) * new.data


def test_equals_its_equations_over_many_steps() -> None:
    network, objective, losses = tiny.train("mean_teacher", ema_decay=0.9, ramp_up_ema_decay=0.9)
    state = Reference()
    reference, expected = tiny.train_reference(state.consistency, state.after_step, num_views=2)
    tiny.assert_same_training(losses, expected, network, reference)
    teacher = objective.regularizer.teacher
    for p, q in zip(teacher.parameters(), state.teacher.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12)


def test_gradient_reaches_the_student_and_not_the_teacher() -> None:
    """The fault that two frameworks shipped: a consistency term that trains nobody."""
    network, objective, _ = tiny.train("mean_teacher", steps=5)
    b, method = tiny.batch(5, 2), objective.regularizer
    loss = method(network, b, [network(b.views[0])], tiny.step(5))
    assert min(tiny.gradient_norms(loss, network)) > 1e-6
    assert not any(p.requires_grad for p in method.teacher.parameters())


def test_the_teacher_starts_as_the_student_and_is_what_is_tested() -> None:
    network = tiny.student()
    method = tiny.build("mean_teacher", network)
    assert method.evaluated(network) is method.teacher is not network
    for p, q in zip(method.teacher.parameters(), network.parameters(), strict=True):
        assert torch.equal(p, q) and p is not q


@pytest.mark.parametrize(
    ("t", "expected"),
    [(0, 0.5), (8, 0.9), (98, 0.99), (150, 0.99), (200, 1 - 1 / 202), (900, 1 - 1 / 902)],
)
def test_decay_is_a_plain_mean_at_first_and_has_its_own_limit_in_the_ramp(t, expected) -> None:
    method = tiny.build("mean_teacher", tiny.student(), ramp_up_ema_decay=0.99)
    assert method.decay(tiny.step(t, num_steps=1000)) == pytest.approx(expected)
    assert method.decay(tiny.step(5000, num_steps=10000)) == 0.999


def test_the_teacher_has_running_statistics_of_its_own() -> None:
    network = tiny.student(noisy=True).train()
    method, b = tiny.build("mean_teacher", network).train(), tiny.batch(0, 2)
    views = [network(b.views[0])]
    of_student = {k: v.clone() for k, v in network.named_buffers()}
    method(network, b, views, tiny.step(0))
    method.after_step(network, tiny.step(0))
    assert all(torch.equal(v, of_student[k]) for k, v in network.named_buffers())
    mean = method.teacher.body[2].running_mean
    expected = 0.1 * method.teacher.body[:2](b.views[1]).mean(0)
    # The pass came before the average moved the teacher, which is still equal to the student.
    torch.testing.assert_close(mean, expected)


def test_the_teacher_can_choose_the_class_of_a_covariance() -> None:
    """Its own pass leaves no trace; a method without an average is refused."""
    isda = IsdaConfig(semantic_classes="average", lambda_0=2.0)
    network, objective, _ = tiny.train("mean_teacher", isda=isda, noisy=True)
    teacher = objective.evaluated(network)
    with torch.no_grad():
        teacher.head.bias += torch.tensor([5.0, *[0.0] * (tiny.C - 1)])  # it sees class 0 alone
    before = copy.deepcopy(dict(teacher.named_buffers()))
    given = tiny.batch(5, 2)
    classes = objective._classes(network, given, tiny.step(5))
    assert classes is not None and classes.tolist() == [0] * 6 and not classes.requires_grad
    assert all(torch.equal(before[name], value) for name, value in teacher.named_buffers())
    other = copy.deepcopy(objective)
    other.isda = replace(isda, semantic_classes="student")
    found, plain = (
        each(network, given, tiny.step(5)).losses["semantic"] for each in (objective, other)
    )
    assert not torch.isclose(found, plain)
    with pytest.raises(UsageError, match="no average of the network is tested"):
        tiny.train("pi_model", isda=isda)
