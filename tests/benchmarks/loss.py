"""ISDA's statistics and losses, forward and backward, against the per-sample formulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_isda import ClassCovariance, isda_cross_entropy, semantic_consistency
from tests.benchmarks import per_sample_isda
from tests.benchmarks.measurement import Row, Settings, interleaved
from tests.benchmarks.per_sample_isda import PerSampleCovariance

SHAPES = ((128, 10, 128), (128, 100, 128), (128, 100, 640))
STRENGTH = 0.25
LARGEST_TEMPORARY = 2**30  # bytes; the naive Prop. 2 needs n c c a floats several times over

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


def measure(settings: Settings, shapes: Sequence[tuple[int, int, int]] = SHAPES) -> Iterator[Row]:
    """One row for each proposition and each (n, c, a).

    Raises
    ------
    AssertionError
        Ours and the reference do not agree.
    """
    for shape in shapes:
        yield from _measure_shape(shape, settings)


def _measure_shape(shape: tuple[int, int, int], settings: Settings) -> list[Row]:
    n, c, a = shape
    inputs = _draw(shape, settings.device)
    covariance = ClassCovariance(c, a).to(settings.device)
    per_sample = PerSampleCovariance(c, a, settings.device)
    for _ in range(3):
        batch = _draw(shape, settings.device)
        covariance.update(batch.features.detach(), batch.labels)
        per_sample.update(batch.features.detach(), batch.labels)
    cases = {"update + Prop. 1": _proposition_1(inputs, covariance, per_sample)}
    if 4 * n * c * c * a <= LARGEST_TEMPORARY:
        cases["Prop. 2"] = _proposition_2(inputs, covariance, per_sample)
    for ours, reference in cases.values():  # before timing updates the two sides unequally often
        torch.testing.assert_close(
            inputs.gradients(ours), inputs.gradients(reference), rtol=1e-3, atol=1e-5
        )
    return [
        _measure_case(f"{name}, {shape}", inputs, *losses, settings)
        for name, losses in cases.items()
    ]


def _measure_case(
    case: str, inputs: Inputs, ours: Loss, reference: Loss, settings: Settings
) -> Row:
    calls = {
        "ours": lambda: inputs.gradients(ours),
        "reference": lambda: inputs.gradients(reference),
    }
    seconds = interleaved(calls, settings)
    return Row("loss", case, seconds["ours"], seconds["reference"])


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
