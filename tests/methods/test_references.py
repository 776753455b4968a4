"""Each method of FixMatch's kin against its equations, written out image by image, in float64.

The references know nothing of the project but its batches: their state is a plain dictionary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl_isda.isda.config import IsdaConfig
from tests.methods import tiny

C, N = tiny.C, tiny.N
START = float(torch.tensor(1 / C))
"""State begins in fp32."""
Reference = Callable[[dict[str, Any], Tensor, Tensor, Any, Any], Tensor]
"""State, weak predictions, strong ones with their graph, batch and step; the term times its weight."""


def cross_entropy(target: Tensor, p: Tensor) -> Tensor:
    return -sum(target[k] * p[k].log() for k in range(C))


def one(k: int) -> Tensor:
    return torch.eye(C, dtype=torch.float64)[int(k)]


def fixmatch(state, weak, strong, batch, step) -> Tensor:
    return (
        sum(
            cross_entropy(one(q.argmax()), p)
            for q, p in zip(weak, strong, strict=True)
            if q.max() >= 0.4
        )
        / 6
    )


def flexmatch(state, weak, strong, batch, step) -> Tensor:
    labels = state.setdefault("labels", {})
    sigma = [sum(label == c for label in labels.values()) for c in range(C)]
    beta = [each / max(max(sigma), N - sum(sigma)) for each in sigma]
    threshold = [0.4 * b / (2 - b) for b in beta]
    loss = torch.zeros(())
    for q, p, index in zip(weak, strong, batch.indices.tolist(), strict=True):
        label = int(q.argmax())
        if q.max() >= threshold[label]:
            loss = loss + cross_entropy(one(label), p) / 6
        if q.max() > 0.4:
            labels[index] = label
    return loss


def softmatch(state, weak, strong, batch, step) -> Tensor:
    m, largest = 0.8, [float(q.max()) for q in weak]
    mean = sum(largest) / 6
    variance = sum((x - mean) ** 2 for x in largest) / 5
    state["mu"] = m * state.get("mu", START) + (1 - m) * mean
    state["s2"] = m * state.get("s2", 1.0) + (1 - m) * variance
    state["e"] = m * state.get("e", torch.full((C,), START).double()) + (1 - m) * sum(weak) / 6
    seen = state.setdefault("seen", [])
    seen += batch.labels.tolist()
    pi = torch.tensor([seen.count(c) for c in range(C)]).double() / len(seen)
    loss = torch.zeros(())
    for q, p in zip(weak, strong, strict=True):
        raised = q * (pi + 1e-6) / (state["e"] + 1e-6)
        below = min(float((raised / raised.sum()).max()) - state["mu"], 0)
        weight = math.exp(-(below**2) / (2 * state["s2"] / 4))
        loss = loss + weight * cross_entropy(one(q.argmax()), p) / 6
    return loss


def freematch(state, weak, strong, batch, step) -> Tensor:
    m, uniform = 0.8, torch.full((C,), START).double()
    classes = [int(q.argmax()) for q in weak]
    counts = torch.tensor([classes.count(c) for c in range(C)]).double() / 6
    largest = sum(float(q.max()) for q in weak) / 6
    state["tau"] = m * state.get("tau", START) + (1 - m) * largest
    state["p"] = m * state.get("p", uniform) + (1 - m) * sum(weak) / 6
    state["h"] = m * state.get("h", uniform) + (1 - m) * counts
    threshold = [state["tau"] * state["p"][c] / state["p"].max() for c in range(C)]
    kept = [p for q, p, c in zip(weak, strong, classes, strict=True) if q.max() >= threshold[c]]
    labels = [c for q, c in zip(weak, classes, strict=True) if q.max() >= threshold[c]]
    loss = sum(cross_entropy(one(c), p) for c, p in zip(labels, kept, strict=True)) / 6
    if not kept:
        return loss
    spread, chosen = sum(kept) / len(kept), [int(p.argmax()) for p in kept]
    ratios = [spread[c] / (chosen.count(c) / len(kept)) if c in chosen else 0 for c in range(C)]
    wanted = state["p"] / state["h"]
    for c in set(chosen):
        loss = loss + 0.3 * wanted[c] / wanted.sum() * (ratios[c] / sum(ratios)).log()
    return loss


def uda(state, weak, strong, batch, step) -> Tensor:
    loss = torch.zeros(())
    for q, p in zip(weak, strong, strict=True):
        raised = q ** (1 / 0.7)
        loss = loss + (q.max() >= 0.4) * cross_entropy(raised / raised.sum(), p) / 6
    return loss


def dash(state, weak, strong, batch, step) -> Tensor:
    """A warm-up of four steps of 20, whose last two give rho^; periods of three steps."""
    losses = [-float(p[y].log()) for p, y in zip(state["labeled"], batch.labels, strict=True)]
    if 2 <= step.index < 4:
        state.setdefault("losses", []).append(sum(losses) / 4)
    if step.index < 4:
        return torch.zeros(())
    first = sum(state["losses"]) / len(state["losses"])
    rho = max(1.0001 * 1.1 ** -((step.index - 4) // 3) * first, 0.9)
    loss = torch.zeros(())
    for q, p in zip(weak, strong, strict=True):
        raised = q**2 / (q**2).sum()
        target = raised if rho > 0.9 else one(q.argmax())
        loss = loss + (cross_entropy(target, q) <= rho) * cross_entropy(target, p) / 6
    return loss


REFERENCES: dict[str, tuple[Reference, dict[str, Any]]] = {
    "fixmatch": (fixmatch, {"threshold": 0.4}),
    "flexmatch": (flexmatch, {"threshold": 0.4}),
    "softmatch": (softmatch, {"confidence_momentum": 0.8}),
    "freematch": (freematch, {"confidence_momentum": 0.8, "fairness_weight": 0.3}),
    "uda": (uda, {"threshold": 0.4, "temperature": 0.7}),
    "dash": (
        dash,
        {
            "warm_up_fraction": 0.2,
            "threshold_decay": 1.1,
            "period_fraction": 0.15,
            "smallest_threshold": 0.9,
        },
    ),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_equals_its_equations_over_many_steps(name: str) -> None:
    reference, options = REFERENCES[name]
    state: dict[str, Any] = {}

    def term(network, batch, step) -> Tensor:
        weak, strong = (network(view).logits.softmax(1) for view in batch.views)
        state["labeled"] = network(batch.images).logits.softmax(1).detach()
        return reference(state, weak.detach(), strong, batch, step)

    network, _, losses = tiny.train(name, 20, num_steps=20, **options)
    obvious, expected = tiny.train_reference(term, num_views=2, steps=20, num_steps=20)
    tiny.assert_same_training(losses, expected, network, obvious)


@pytest.mark.parametrize("name", REFERENCES)
def test_gradients_start_at_the_strong_view_alone(name: str) -> None:
    """With the weak view's logits cut off, nothing changes."""
    network, objective, _ = tiny.train(name, 3, **REFERENCES[name][1])
    method, batch, step = objective.method, tiny.batch(3, 2), tiny.step(3)
    weak, strong = (network(view) for view in batch.views)
    found = method(network, batch, [weak, strong], step)
    parts = found if isinstance(found, list) else [found]
    assert parts[0].logits is strong.logits and bool((parts[0].weight > 0).any())
    assert not parts[0].target.requires_grad and not parts[0].weight.requires_grad
    for tensor in [part if isinstance(part, Tensor) else part.logits for part in parts]:
        (to_weak,) = torch.autograd.grad(
            tensor.sum(), weak.logits, retain_graph=True, allow_unused=True
        )
        assert to_weak is None


@pytest.mark.parametrize("name", REFERENCES)
def test_the_bound_lies_above_and_its_extra_reaches_the_head(name: str) -> None:
    """The plain term, and above it that of Prop. 1; labels and weights are those without ISDA."""
    found = {}
    for strength in (0.0, 0.5):
        isda = IsdaConfig(lambda_0=strength, lambda_schedule="constant", eta_1=0.0)
        network = tiny.student()
        method = tiny.build(name, network, **REFERENCES[name][1])
        objective = tiny.Objective(method, isda, C, tiny.A).double()
        for t in range(3):
            term = objective(network, tiny.batch(t, 2), tiny.step(t)).losses["consistency"]
        (gradient,) = torch.autograd.grad(term, network.head.weight)
        found[strength] = term.detach(), gradient
    assert found[0.5][0] > found[0.0][0] and not torch.equal(found[0.5][1], found[0.0][1])
