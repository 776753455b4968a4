"""ISDA's statistics and losses, forward and backward, against the per-sample formulation.

The reference is what the authors' published code does, operation by operation, written anew
(``per_sample_isda``), with diagonal covariances where they use those (segmentation, where an "image" is
a pixel). Prop. 2, which they never published, is held against the form in which it is first written
down, with all pairs of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_isda import ClassCovariance, isda_cross_entropy, semantic_consistency
from ssl_isda.covariance import Form
from ssl_isda.memory import free_bytes
from tests.benchmarks import per_sample_isda
from tests.benchmarks.measurement import Row, Settings, allocated_bytes, interleaved
from tests.benchmarks.per_sample_isda import PerSampleCovariance

Shape = tuple[int, int, int]
SHAPES: Mapping[Shape, Form] = {
    (128, 10, 128): "full",
    (128, 100, 128): "full",
    (128, 100, 640): "full",
    (65536, 19, 512): "diagonal",
}
TARGETS = {(128, 10, 128): 0.1, (128, 100, 128): 0.1, (128, 100, 640): 0.05}
STRENGTH = 0.25
TEMPORARIES = 8
"""Tensors of its largest shape that a reference holds at once, at most."""

Loss = Callable[[], Tensor]


@dataclass(frozen=True)
class Inputs:
    """Leaves of a linear head: features (n, a), weight (c, a); and labels (n,)."""

    features: Tensor
    labels: Tensor
    weight: Tensor

    @property
    def logits(self) -> Tensor:
        return self.features @ self.weight.T

    def gradients(self, loss: Loss) -> tuple[Tensor, ...]:
        """The loss and its gradients by features and weight."""
        value = loss()
        return value.detach(), *torch.autograd.grad(value, (self.features, self.weight))


def measure(settings: Settings, shapes: Mapping[Shape, Form] = SHAPES) -> Iterator[Row]:
    """One row for each proposition and each (n, c, a) whose reference fits into the memory.

    Raises
    ------
    AssertionError
        Ours and the reference do not agree.
    """
    for shape, form in shapes.items():
        yield from _measure_shape(shape, form, settings)


def _measure_shape(shape: Shape, form: Form, settings: Settings) -> list[Row]:
    n, c, a = shape
    fitting = (free_bytes(settings.device) or 2**34) / TEMPORARIES
    if 4 * n * c * a > fitting:
        print(
            f"loss         {shape}, {form}: left out, the reference needs more memory than is free"
        )
        return []
    inputs = _draw(shape, settings.device)
    covariance = ClassCovariance(c, a, form).to(settings.device)
    per_sample = PerSampleCovariance(c, a, settings.device, form)
    for _ in range(3):
        batch = _draw(shape, settings.device)
        covariance.update(batch.features.detach(), batch.labels)
        per_sample.update(batch.features.detach(), batch.labels)
    cases = {"update + Prop. 1": _proposition_1(inputs, covariance, per_sample)}
    if form == "full" and 4 * n * c * c * a <= fitting:
        cases["Prop. 2"] = _proposition_2(inputs, covariance, per_sample)
    for ours, reference in cases.values():  # before timing updates the two sides unequally often
        torch.testing.assert_close(
            inputs.gradients(ours), inputs.gradients(reference), rtol=1e-3, atol=1e-5
        )
    return [
        _measure_case(
            f"{name}, {shape}{', diagonal' * (form == 'diagonal')}",
            inputs,
            *losses,
            TARGETS.get(shape) if "Prop. 1" in name else None,
            settings,
        )
        for name, losses in cases.items()
    ]


def _measure_case(
    case: str,
    inputs: Inputs,
    ours: Loss,
    reference: Loss,
    target: float | None,
    settings: Settings,
) -> Row:
    calls = {
        "ours": lambda: inputs.gradients(ours),
        "reference": lambda: inputs.gradients(reference),
    }
    seconds = interleaved(calls, settings)
    memory = tuple(allocated_bytes(call, settings.device) for call in calls.values())
    return Row("loss", case, seconds["ours"], seconds["reference"], target, memory=memory)


def _draw(shape: tuple[int, int, int], device: torch.device) -> Inputs:
    n, c, a = shape
    features = torch.randn(n, a, device=device).requires_grad_()
    weight = (3 * torch.randn(c, a, device=device) / a**0.5).requires_grad_()
    return Inputs(features, torch.randint(c, (n,), device=device), weight)


def _proposition_1(
    inputs: Inputs, covariance: ClassCovariance, per_sample: PerSampleCovariance
) -> tuple[Loss, Loss]:
    features, labels, weight = inputs.features.detach(), inputs.labels, inputs.weight

    def ours() -> Tensor:
        covariance.update(features, labels)
        return isda_cross_entropy(inputs.logits, labels, weight, covariance, STRENGTH)

    def reference() -> Tensor:
        per_sample.update(features, labels)
        return per_sample_isda.cross_entropy(
            inputs.logits, labels, weight, per_sample.sigma, STRENGTH
        )

    return ours, reference


def _proposition_2(
    inputs: Inputs, covariance: ClassCovariance, per_sample: PerSampleCovariance
) -> tuple[Loss, Loss]:
    def ours() -> Tensor:
        return semantic_consistency(inputs.logits, inputs.weight, covariance, STRENGTH)

    def reference() -> Tensor:
        return per_sample_isda.consistency(inputs.logits, inputs.weight, per_sample.sigma, STRENGTH)

    return ours, reference
