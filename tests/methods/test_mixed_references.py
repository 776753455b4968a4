"""The methods that change what passes through the network, against their equations, in float64.

The network has BatchNorm, so that it matters what passes with what, and what feeds running statistics.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_isda.base.errors import UsageError
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.isda.propositions import isda_cross_entropy
from tests.methods import tiny

C, STEPS = tiny.C, 8
CPU = torch.device("cpu")


def student() -> tiny.TinyClassifier:
    network = tiny.student(noisy=True)
    network.body[3].p = 0.0
    return network.train()


def untraced(network: nn.Module, images: Tensor) -> Tensor:
    """Logits by the batch's own statistics; the running ones are put back."""
    layer = network.body[2]
    kept = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    logits = network(images).logits
    for name, buffer in kept.items():
        setattr(layer, name, buffer)
    return logits


def mean_cross_entropy(targets: Tensor, logits: Tensor) -> Tensor:
    p = logits.softmax(1)
    return -sum(t[k] * q[k].log() for t, q in zip(targets, p, strict=True) for k in range(C)) / len(
        p
    )


def one_hot(labels: Tensor) -> Tensor:
    return torch.eye(C, dtype=torch.float64)[labels]


def sharp(q: Tensor) -> Tensor:
    return q**2 / (q**2).sum(1, keepdim=True)


def mixed(streams: list[Tensor], targets: list[Tensor], step) -> tuple[Tensor, Tensor]:
    images, wanted = torch.cat(streams), torch.cat(targets)
    order = torch.randperm(len(images), generator=step.generator("mixing order"))
    beta = torch.distributions.Beta(*torch.tensor([0.75, 0.75], dtype=torch.float64))
    with step.global_draws("mixing shares", CPU):
        shares = beta.sample((len(images),))
    shares = torch.stack([shares, 1 - shares]).amax(0)
    pairs = [
        (share * images[i] + (1 - share) * images[j], share * wanted[i] + (1 - share) * wanted[j])
        for i, (j, share) in enumerate(zip(order, shares, strict=True))
    ]
    return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])


def adamatch(state: dict[str, Any], network, batch, step) -> Tensor:
    both = torch.cat([batch.images, batch.labeled_views[0]])
    joint, weak, strong = network(torch.cat([both, *batch.views])).logits.split([8, 6, 6])
    alone = untraced(network, both)
    r = torch.rand(2, 4, C, generator=step.generator("logit interpolation")).double().flatten(0, 1)
    z = joint + r * (alone - joint)
    p = z.detach()[:4].softmax(1)
    start = torch.full((C,), 1 / C).double()
    state["x"] = 0.999 * state.get("x", start) + (1 - 0.999) * p.mean(0)
    q = weak.detach().softmax(1)
    recent = state.setdefault("u", [start] * 128)
    recent[step.index] = q.mean(0)
    q = q * (state["x"] + 1e-6) / (sum(recent) / 128 + 1e-6)
    q = q / q.sum(1, keepdim=True)
    kept = q.amax(1) >= 0.9 * p.amax(1).mean()
    loss = mean_cross_entropy(one_hot(batch.labels), z[:4]) / 2
    loss = loss + mean_cross_entropy(one_hot(batch.labels), z[4:]) / 2
    ramp = (1 - math.cos(2 * math.pi * min(0.5, step.progress))) / 2
    return loss + ramp * mean_cross_entropy(one_hot(q.argmax(1)) * kept[:, None], strong)


def mixmatch(state: dict[str, Any], network, batch, step) -> Tensor:
    q = sum(untraced(network, view).detach().softmax(1) for view in batch.views) / 2
    labels = [one_hot(batch.labels), sharp(q), sharp(q)]
    images, targets = mixed([batch.images, *batch.views], labels, step)
    logits = network(images).logits
    squares = (logits[4:].softmax(1) - targets[4:]) ** 2
    ramp = min(1, step.index / 12 / 0.25)
    return mean_cross_entropy(targets[:4], logits[:4]) + 3 * ramp * squares.mean()


def ict(state: dict[str, Any], network, batch, step) -> Tensor:
    teacher = state.setdefault("teacher", copy.deepcopy(network))
    for own, new in zip(teacher.parameters(), network.parameters(), strict=True):
        a = min(1 - 1 / (step.index + 1), 0.9)  # it follows before the step that comes now
        own.data = a * own.data + (1 - a) * new.data
    (u,) = batch.views
    p = teacher(u).logits.detach().softmax(1)
    order = torch.randperm(6, generator=step.generator("mixing order"))
    beta = torch.distributions.Beta(*torch.ones(2, dtype=torch.float64))
    with step.global_draws("mixing share", CPU):
        share = beta.sample((1,))
    logits = network(torch.cat([batch.images, share * u + (1 - share) * u[order]])).logits
    squares = (logits[4:].softmax(1) - share * p - (1 - share) * p[order]) ** 2
    ramp = math.exp(-5 * (1 - min(1, step.progress / 0.25)) ** 2)
    return mean_cross_entropy(one_hot(batch.labels), logits[:4]) + 4 * ramp * squares.mean()


def remixmatch(state: dict[str, Any], network, batch, step) -> Tensor:
    weak, first, second = batch.views
    q = untraced(network, weak).detach().softmax(1)
    recent = state.setdefault("u", [torch.full((C,), 1 / C).double()] * 128)
    recent[step.index] = q.mean(0)
    seen = state.setdefault("seen", [])
    seen += batch.labels.tolist()
    wanted = torch.tensor([seen.count(c) for c in range(C)]).double() / len(seen)
    q = q * (wanted + 1e-6) / (sum(recent) / 128 + 1e-6)
    q = sharp(q / q.sum(1, keepdim=True))
    streams = [batch.labeled_views[0], first, second, weak]
    images, targets = mixed(streams, [one_hot(batch.labels), q, q, q], step)
    turned = torch.stack([torch.rot90(x, i % 4, (1, 2)) for i, x in enumerate(first)])
    logits, features = network(torch.cat([images, first, turned]))
    turns = (features[-6:] @ state["head"].weight.T + state["head"].bias).log_softmax(1)
    ramp = min(1, step.index / 12 / 0.25)
    loss = mean_cross_entropy(targets[:4], logits[:4])
    loss = loss + 1.5 * ramp * mean_cross_entropy(targets[4:], logits[4:22])
    loss = loss + 0.5 * ramp * mean_cross_entropy(q, logits[22:28])
    return loss - 0.5 * sum(turns[i, i % 4] for i in range(6)) / 6


REFERENCES: dict[str, tuple[Callable[..., Tensor], dict[str, Any]]] = {
    "adamatch": (adamatch, {}),
    "mixmatch": (mixmatch, {"consistency_weight": 3.0, "ramp_up_fraction": 0.25}),
    "ict": (ict, {"consistency_weight": 4.0, "ema_decay": 0.9}),
    "remixmatch": (remixmatch, {"ramp_up_fraction": 0.25}),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_equals_its_equations_over_many_steps(name: str) -> None:
    reference, options = REFERENCES[name]
    network, obvious, state = student(), student(), {}
    method = tiny.build(name, network, **options)
    objective = tiny.Objective(method, None, C, tiny.A).double()
    if name == "remixmatch":
        state["head"] = copy.deepcopy(method.rotation)
    losses, expected = [], []
    for t in range(STEPS):
        step = tiny.step(t)
        given = tiny.batch(t, len(method.views), labeled_views=len(method.labeled_views))
        losses.append(objective(network, given, step).total)
        tiny.descend(network, losses[-1])
        method.after_step(network, step)
        expected.append(reference(state, obvious, given, step))
        tiny.descend(obvious, expected[-1])
    detached = [[each.item() for each in found] for found in (losses, expected)]
    tiny.assert_same_training(*detached, network, obvious)
    for own, other in zip(network.buffers(), obvious.buffers(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-12)


def test_mixed_labels_get_the_bound_for_mixtures_and_nothing_else_changes() -> None:
    terms, networks = {}, {}
    for strength in (0.0, 2.0):
        isda = IsdaConfig(lambda_0=strength, lambda_schedule="constant")
        network = networks[strength] = student()
        objective = tiny.Objective(tiny.build("mixmatch", network), isda, C, tiny.A).double()
        terms[strength] = objective(network, tiny.batch(0, 2), tiny.step(6))
    plain, with_isda = (terms[each].losses for each in (0.0, 2.0))
    assert with_isda.keys() == {"supervised", "consistency"}
    assert torch.equal(plain["consistency"], with_isda["consistency"])
    mixture = objective.method.mix(student(), tiny.batch(0, 2), tiny.step(6))
    logits = student()(torch.cat([mixture.images, *mixture.views])).logits[:4]
    expected = isda_cross_entropy(
        logits, mixture.labels, network.head.weight, objective.covariance, 2.0
    )
    torch.testing.assert_close(with_isda["supervised"], expected)
    assert with_isda["supervised"] > plain["supervised"]


def test_only_square_images_can_be_turned() -> None:
    from ssl_isda.methods.remixmatch import turned

    with pytest.raises(UsageError, match="must be square"):
        turned(torch.zeros(4, 1, 16, 24), torch.arange(4))


def test_the_rotations_head_is_trained_and_the_same_for_every_run() -> None:
    methods = [tiny.build("remixmatch", student()) for _ in range(2)]
    (group,) = methods[0].groups()
    assert {id(p) for p in group.parameters} == {id(p) for p in methods[0].rotation.parameters()}
    assert torch.equal(methods[0].rotation.weight, methods[1].rotation.weight)
