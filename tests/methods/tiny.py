"""A network, batches and a training loop small enough to follow by hand, in float64."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ssl_isda.base.step import Step
from ssl_isda.data.batch import Batch
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.models.contract import Network
from ssl_isda.training.method import METHODS, Method
from ssl_isda.training.objective import Objective

importlib.import_module("ssl_isda.methods")
C, A, N, PIXELS = 3, 5, 12, (2, 4, 4)
LIVELY: dict[str, dict[str, float]] = {
    **{name: {"threshold": 0.3} for name in ("pseudo_label", "fixmatch", "flexmatch", "uda")},
    **{name: {"confidence_momentum": 0.7} for name in ("freematch", "softmatch")},
    "dash": {"smallest_threshold": 1.35, "warm_up_fraction": 0.3},
    **{name: {"ramp_up_fraction": 0.4} for name in ("mixmatch", "remixmatch")},
}
"""Options by which the labels of an untrained network count: hardly one of its predictions is sure."""


class TinyClassifier(Network):
    """Flatten, linear, tanh, linear; with BatchNorm and dropout between them if asked for."""

    def __init__(self, noisy: bool = False) -> None:
        super().__init__()
        middle = [nn.BatchNorm1d(A), nn.Dropout(0.5)] if noisy else []
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(32, A), *middle, nn.Tanh())
        self.head = nn.Linear(A, C)

    def features(self, images: Tensor) -> Tensor:
        return self.body(images)


def student(noisy: bool = False, seed: int = 0) -> TinyClassifier:
    torch.manual_seed(seed)
    return TinyClassifier(noisy).double()


def build(name: str, network: nn.Module, num_images: int = N, **options) -> Method:
    """The method ``name`` with its default configuration but for ``options``."""
    config = importlib.import_module(f"ssl_isda.methods.{name}").Config(**options)
    method = METHODS[name](config, student=network, num_images=num_images, num_classes=C)
    return method.double()


def batch(t: int, num_views: int, unlabeled: int = 6, labeled_views: int = 0) -> Batch:
    """Batch ``t``, the same whenever it is asked for."""
    g = torch.Generator().manual_seed(t)
    images = torch.randn(4, *PIXELS, generator=g, dtype=torch.float64)
    labels = torch.randint(0, C, (4,), generator=g)
    indices = torch.randperm(N, generator=g)[:unlabeled]
    views = tuple(
        torch.randn(unlabeled, *PIXELS, generator=g, dtype=torch.float64) for _ in range(num_views)
    )
    more = tuple(
        torch.randn(4, *PIXELS, generator=g, dtype=torch.float64) for _ in range(labeled_views)
    )
    return Batch(images, labels, views, indices, more)


def step(t: int, num_steps: int = 12, steps_per_epoch: int = 3) -> Step:
    return Step(t, num_steps, steps_per_epoch, seed=7)


def train(
    name: str,
    steps: int = 12,
    *,
    isda: IsdaConfig | None = None,
    noisy: bool = False,
    num_steps: int = 12,
    **options,
) -> tuple[TinyClassifier, Objective, list[float]]:
    """Plain SGD by the project's objective; the total loss of each step."""
    network = student(noisy)
    method = build(name, network, **options)
    objective = Objective(method, isda, C, A).double()
    losses = []
    for t in range(steps):
        given = batch(t, len(method.views), labeled_views=len(method.labeled_views))
        terms = objective(network, given, step(t, num_steps))
        descend(network, terms.total)
        method.after_step(network, step(t, num_steps))
        losses.append(terms.total.item())
    return network, objective, losses


def train_reference(
    consistency: Callable[[TinyClassifier, Batch, Step], Tensor],
    after_step: Callable[[TinyClassifier, Batch, Step], None] = lambda *_: None,
    *,
    num_views: int,
    steps: int = 12,
    num_steps: int = 12,
) -> tuple[TinyClassifier, list[float]]:
    """The obvious loop: cross-entropy plus a weighted term, written out by the caller."""
    network = student()
    losses = []
    for t in range(steps):
        b, s = batch(t, num_views), step(t, num_steps)
        logits = network(b.images)[0]
        chosen = logits.softmax(1)[torch.arange(4), b.labels]
        loss = -chosen.log().sum() / 4 + consistency(network, b, s)
        descend(network, loss)
        after_step(network, b, s)
        losses.append(loss.item())
    return network, losses


def descend(network: nn.Module, loss: Tensor, rate: float = 0.05) -> None:
    parameters = list(network.parameters())
    for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        p.data -= rate * g


def assert_same_training(
    ours: list[float], obvious: list[float], a: nn.Module, b: nn.Module
) -> None:
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(obvious), rtol=1e-9, atol=0)
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-12)
    assert max(ours) - min(ours) > 1e-3, "nothing was trained"


def gradient_norms(loss: Tensor, module: nn.Module) -> list[float]:
    """The norm of the derivative by each parameter; 0 where there is none."""
    parameters = list(module.parameters())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return [0.0 if g is None else g.norm().item() for g in gradients]
