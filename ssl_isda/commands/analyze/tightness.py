r"""Fig. 9 of ISDA: both upper bounds beside the expectations that they bound, over a training.

A snapshot is the state with which a step began, so the step can be taken again, exactly: the same
crops, dropout masks, features and covariances, and the bound is the very loss of that step. The
expectation is estimated from explicit draws a~ ~ N(a, lambda Sigma) around those features.

    Prop. 1   E[-log softmax(W a~ + b)_y]            <=  isda_cross_entropy
    Prop. 2   E[cross-entropy(p, softmax(W a~ + b))] <=  semantic_consistency

The second holds the entropy H(p), which no training changes through it: what Prop. 2 is about is the
divergence above it, and there the bound is loose. To first order in lambda the expected divergence is
(lambda / 4) sum_jk p_j p_k q[j, k] and the bound's is (lambda / 2) sum_jk p_j p_k q[j, k]: twice as much.
The other values of ``--consistency`` are held against the same divergence.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_isda.base.errors import UsageError
from ssl_isda.base.precision import autocast
from ssl_isda.isda.propositions import (
    centered_semantic_consistency,
    isda_cross_entropy,
    sampled_isda_cross_entropy,
    sampled_semantic_consistency,
    second_order_consistency,
    semantic_consistency,
)
from ssl_isda.losses.consistency import entropy
from ssl_isda.models.contract import linear_map
from ssl_isda.runs import checkpoint
from ssl_isda.training.trainer import Trainer

NUM_PARTS = 10
"""Draws are made in this many parts: they bound the memory, and their spread is the standard error."""


@dataclass(frozen=True)
class Bound:
    """One proposition at one step: mean losses of a batch, in nats."""

    floor: float
    """What the loss is without augmentation: the cross-entropy; of Prop. 2 the entropy H(p)."""
    bound: float
    """The closed form."""
    expected: float
    """What it bounds, from explicit draws."""
    standard_error: float
    """Of ``expected``."""

    @property
    def ratio(self) -> float:
        """bound / expected: 1 where the bound is tight."""
        return self.bound / self.expected

    @property
    def ratio_of_excess(self) -> float | None:
        """(bound - floor) / (expected - floor): what the augmentation adds to both.

        None where the draws cannot tell their part from 0.
        """
        excess = self.expected - self.floor
        if excess <= 3 * self.standard_error:
            return None
        return (self.bound - self.floor) / excess


@dataclass(frozen=True)
class Moment:
    """Both propositions as one step of the training saw them."""

    step: int
    strength: float
    """lambda."""
    supervised: Bound
    semantic: Bound | None
    """None for a method without unlabeled images."""
    divergences: Mapping[str, float] = field(default_factory=dict)
    """What the other values of ``--consistency`` have above H(p), by their names."""


def measure(trainer: Trainer, state: dict[str, Any], num_samples: int) -> Moment:
    """Take the step again that ``state`` was kept for, and draw.

    Raises
    ------
    UsageError
        The state belongs to another network or method.
    """
    trainer.load_networks(state)
    step, objective, student = trainer.step(state["next_step"]), trainer.objective, trainer.student
    covariance, isda = objective.covariance, objective.isda
    assert covariance is not None and isda is not None
    strength = isda.strength(step.progress)
    labels, (logits, features), unlabeled = _predictions(trainer, state["next_step"])
    weight, bias = linear_map(student.head)
    weight, bias = weight.detach(), bias.detach()
    given = (weight, bias, covariance, strength)
    with torch.no_grad():
        supervised = Bound(
            isda_cross_entropy(logits, labels, weight, covariance, 0.0).item(),
            isda_cross_entropy(logits, labels, weight, covariance, strength).item(),
            *_expected(
                functools.partial(sampled_isda_cross_entropy, features, labels, *given),
                num_samples,
                step.generator("draws of Prop. 1"),
            ),
        )
        if unlabeled is None:
            return Moment(step.index, strength, supervised, None)
        logits, features = unlabeled
        seen = (logits, weight, covariance, strength)
        semantic = Bound(
            entropy(logits).item(),
            semantic_consistency(*seen).item(),
            *_expected(
                functools.partial(sampled_semantic_consistency, features, *given),
                num_samples,
                step.generator("draws of Prop. 2"),
            ),
        )
        divergences = {
            "centered_bound": centered_semantic_consistency(*seen).item() - semantic.floor,
            "second_order": second_order_consistency(*seen).item(),
        }
    return Moment(step.index, strength, supervised, semantic, divergences)


def _predictions(
    trainer: Trainer, index: int
) -> tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor] | None]:
    """Labels, and logits and features of the labeled images and of the first unlabeled views.

    The whole objective is computed, as the step did; it also takes the labeled features into the
    covariances.
    """
    passes: list[tuple[Tensor, Tensor]] = []

    def remember(module: nn.Module, inputs: object, output: tuple[Tensor, Tensor]) -> None:
        passes.append((output[0].detach(), output[1].detach()))

    step, student, objective = trainer.step(index), trainer.student, trainer.objective
    student.train()
    objective.train()
    batch = trainer.data.batch(step)
    handle = student.register_forward_hook(remember)
    with autocast(trainer.device, trainer.config.precision):
        objective(student, batch, step)
    handle.remove()
    num_labeled, (logits, features) = len(batch.labels), passes[0]
    labeled = (logits[:num_labeled], features[:num_labeled])
    if not batch.views:
        return batch.labels, labeled, None
    first = slice(num_labeled, num_labeled + len(batch.views[0]))
    if objective.method.joined:
        return batch.labels, labeled, (logits[first], features[first])
    return batch.labels, labeled, passes[1]


def _expected(
    sampled: Callable[..., Tensor], num_samples: int, generator: torch.Generator
) -> tuple[float, float]:
    """Mean and standard error of ``num_samples`` draws for each image."""
    part = -(-num_samples // NUM_PARTS)
    values = [
        sampled(num_samples=part, generator=generator).item()
        for _ in range(-(-num_samples // part))
    ]
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))


# ---- a run


def snapshots(folder: Path) -> list[Path]:
    """The snapshots of a run, in the order of their steps.

    Raises
    ------
    UsageError
        It has none.
    """
    found = sorted(folder.glob("snapshots/step*.pt"))
    if not found:
        raise UsageError(
            f"{folder} has no snapshots: train it with --isda --snapshots 20, and with "
            "--fresh if it has begun"
        )
    return found


def tightness(trainer: Trainer, files: Sequence[Path], num_samples: int) -> Iterator[Moment]:
    """Both propositions at each snapshot.

    Raises
    ------
    UsageError
        The run is without ISDA, or a snapshot is damaged or another run's.
    """
    if trainer.objective.isda is None:
        raise UsageError(f"{trainer.tracker.folder} was trained without ISDA: there is no bound")
    for file in files:
        try:
            state = checkpoint.load(file, trainer.device)
        except checkpoint.CheckpointDamaged as error:
            raise UsageError(str(error)) from error
        yield measure(trainer, state, num_samples)
