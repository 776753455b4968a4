"""What a method may ask of the objective, shown on the smallest methods that do."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.data.views import View
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.isda.propositions import isda_cross_entropy
from ssl_isda.training.confidence import FixedThreshold, GaussianWeights
from ssl_isda.training.ema import Ema
from ssl_isda.training.method import Batch, Method, Targets
from ssl_isda.training.objective import Objective
from tests.methods import tiny


class Joined(Method):
    """Three views, of which two pass with the labeled images."""

    views, joined = (View(), View(), View()), 2

    def forward(self, student, batch, views, step) -> Targets:
        weak, strong = views
        return Targets(strong.logits, weak.logits.detach().argmax(1), torch.arange(6.0).double())


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("isda", [None, IsdaConfig(lambda_0=2.0)])
def test_joined_views_and_a_term_handed_back_as_its_parts(isda, soft: bool, monkeypatch) -> None:
    if soft:  # the same targets as probabilities
        hand_back = Joined.forward

        def forward(*given) -> Targets:
            term = hand_back(*given)
            return term._replace(target=F.one_hot(term.target, tiny.C).double())

        monkeypatch.setattr(Joined, "forward", forward)
    network, batch, step = tiny.student(), tiny.batch(0, 3), tiny.step(6)
    passes = []
    network.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0])))
    objective = Objective(Joined(), isda, tiny.C, tiny.A).double()
    term = objective(network, batch, step).losses["consistency"]
    assert passes == [4 + 6 + 6]
    weak, strong = (network(view).logits for view in batch.views[:2])
    expected = 0.0
    for k, (z, y) in enumerate(zip(strong, weak.argmax(1), strict=True)):
        each = F.cross_entropy(z, y)
        if isda:
            sigma, weight = objective.covariance, network.head.weight
            each = isda_cross_entropy(z[None], y[None], weight, sigma, isda.strength(step.progress))
        expected += k * each / 6
    torch.testing.assert_close(term, expected)
    assert min(tiny.gradient_norms(term, network)) > 0


class Mixed(Method):
    """Swaps in images of its own with soft labels, and has a supervised term of its own."""

    views = ()

    def mix(self, student, batch, step) -> Batch:
        soft = torch.full((4, tiny.C), 1 / tiny.C, dtype=torch.float64)
        return Batch(2 * batch.images, soft, batch.views, batch.indices)

    def labeled(self, student, batch, prediction, step) -> Targets:
        return Targets(prediction.logits, batch.labels, torch.full((4,), 3.0).double())


def test_mixed_images_and_a_supervised_term_of_the_methods_own() -> None:
    network, batch = tiny.student(), tiny.batch(0, 0)
    terms = Objective(Mixed(), None, tiny.C, tiny.A)(network, batch, tiny.step(0))
    log_p = network(2 * batch.images).logits.log_softmax(1)
    torch.testing.assert_close(terms.total, -3 * log_p.mean())


@pytest.mark.parametrize("threshold", [0.0, 0.6, 1.0])
def test_a_fixed_threshold_weighs_by_the_largest_probability(threshold: float) -> None:
    p = torch.tensor([[0.5, 0.5], [0.4, 0.6], [1.0, 0.0]])
    weights = FixedThreshold(threshold).weights(p, torch.arange(3))
    assert weights.tolist() == [float(largest >= threshold) for largest in (0.5, 0.6, 1.0)]


@pytest.mark.parametrize("sure", [1.0, 0.6])
def test_gaussian_weights_of_predictions_that_are_all_equally_sure_are_1(sure: float) -> None:
    p = torch.tensor([[sure, 1 - sure]]).expand(4, 2)
    confidence = GaussianWeights(2, momentum=0.0)
    confidence.follow(p)
    assert confidence.variance.value == 0
    assert confidence.weights(p, torch.arange(4)).tolist() == [1.0] * 4
    less = torch.tensor([[0.55, 0.45]])
    assert confidence.weights(less, torch.arange(1)).tolist() == [0.0]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_freematch_of_a_class_that_never_occurs_stays_finite(momentum: float) -> None:
    """Its share of the predicted classes comes to 0: p~ / h~ is then 0 in place of infinity."""
    method = tiny.build("freematch", tiny.student(), confidence_momentum=momentum).float()
    q = torch.tensor([[0.6, 0.3, 0.1], [0.3, 0.6, 0.1]])
    for _ in range(1200):
        weights = method.confidence.weights(q, torch.arange(2))
    assert method.confidence.histogram.value[2].reciprocal().isinf()
    logits = q.log().requires_grad_()
    loss = method.fairness(logits.softmax(1), torch.ones_like(weights))
    assert loss.item() == pytest.approx(-math.log(2), rel=1e-5)  # spread as it is wanted
    assert torch.autograd.grad(loss, logits)[0].isfinite().all()


def test_an_average_follows_parameters_and_no_buffers() -> None:
    network = tiny.student(noisy=True)
    ema = Ema(network, 0.75)
    before: list[Tensor] = [p.clone() for p in network.parameters()]
    for parameter in network.parameters():
        parameter.data += 1
    network.train()(tiny.batch(0, 0).images)
    ema.follow(network)
    ema.follow(network, 0.5)
    for p, old in zip(ema.network.parameters(), before, strict=True):
        torch.testing.assert_close(p, old + 0.25 + 0.5 * 0.75)
        assert not p.requires_grad
    assert int(ema.network.body[2].num_batches_tracked) == 0


def test_an_average_of_a_network_without_buffers_follows_its_parameters() -> None:
    network = nn.Linear(2, 3)
    ema = Ema(network, 0.5, copies_buffers=True)
    before = network.weight.detach().clone()
    network.weight.data += 1
    ema.follow(network)
    torch.testing.assert_close(ema.network.weight.detach(), before + 0.5)


def test_the_average_that_is_tested_follows_the_student_and_its_running_statistics() -> None:
    network = tiny.student(noisy=True)
    objective = Objective(tiny.build("supervised", network), None, tiny.C, tiny.A).double()
    assert objective.evaluated(network) is network and "average" not in dir(objective)
    objective.average_for_evaluation(network, 0.75)
    expected = [p.clone() for p in network.parameters()]
    for t in range(4):
        tiny.descend(network, objective(network, tiny.batch(t, 0), tiny.step(t)).total)
        objective.after_step(network, tiny.step(t))
        expected = [
            0.75 * e + 0.25 * p for e, p in zip(expected, network.parameters(), strict=True)
        ]
    average = objective.evaluated(network)
    assert average is not network
    torch.testing.assert_close([*average.parameters()], [p.detach() for p in expected])
    for name, buffer in network.named_buffers():
        assert torch.equal(buffer, average.get_buffer(name)), name
    assert int(network.body[2].num_batches_tracked) == 4
    assert {f"average.{name}" for name in network.state_dict()} <= objective.state_dict().keys()


def test_a_method_that_tests_its_teacher_takes_no_second_average() -> None:
    network = tiny.student()
    objective = Objective(tiny.build("mean_teacher", network), None, tiny.C, tiny.A)
    with pytest.raises(ValueError, match="of its own"):
        objective.average_for_evaluation(network, 0.9)
