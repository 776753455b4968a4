"""ISDA's statistics and losses, forward and backward, against the per-sample formulation.

The reference is what the authors' published code does, operation by operation, written anew
(``per_sample_isda``), with diagonal covariances where they use those (ImageNet; segmentation, where an
"image" is a pixel). Prop. 2, which they never published, is held against the form in which it is first
written down, with all pairs of classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_isda import ClassCovariance, isda_cross_entropy, semantic_consistency
from ssl_isda.isda.covariance import Form
from ssl_isda.runs.memory import free_bytes
from tests.benchmarks import per_sample_isda
from tests.benchmarks.measurement import Row, Settings, allocated_bytes, interleaved
from tests.benchmarks.per_sample_isda import PerSampleCovariance

Shape = tuple[int, int, int]
SHAPES: Mapping[Shape, Form] = {
    (128, 10, 128): "full",
    (128, 100, 128): "full",
    (128, 100, 640): "full",
    (65536, 19, 512): "diagonal",
    (256, 1000, 2048): "diagonal",
}
CPU_TARGETS = {(128, 10, 128): 0.1, (128, 100, 128): 0.1, (128, 100, 640): 0.05}
"""Of the time of statistics and Prop. 1."""
MEMORY_TARGET = 0.1
"""At the same shapes."""
STRENGTH = 0.25
USABLE = 0.9
"""Of the memory that is free."""
MANY_BYTES, MOST_ROUNDS = 2**32, 3
"""A reference that needs so much takes a minute a call: a few rounds suffice."""
VERY_MANY_BYTES = 2**33
"""One that needs so much takes minutes: one round without a warm-up."""

Loss = Callable[[], Tensor]


@dataclass(frozen=True)
class Case:
    """A proposition at (n, c, a)."""

    proposition: str
    shape: Shape
    form: Form

    def __str__(self) -> str:
        return f"{self.proposition}, {self.shape}{', diagonal' * (self.form == 'diagonal')}"

    @property
    def reference_bytes(self) -> int:
        """The most that a call of the reference holds: so many fp32 tensors of its largest shape, as
        measured."""
        n, c, a = self.shape
        if self.proposition == "Prop. 2":
            return 4 * 4 * n * c * c * a
        if self.form == "diagonal":
            return 5 * 4 * n * c * a
        return 7 * 4 * max(n * c * a, n * a * a, c * a * a, n * c * c)

    def fits(self, device: torch.device) -> bool:
        """Whether the reference can be computed; says so if not."""
        needed, free = self.reference_bytes, free_bytes(device)
        if free is None or needed <= USABLE * free:
            return True
        print(
            f"loss         {self}: left out, the reference needs {needed / 1e9:.1f} GB of memory "
            f"and {free / 1e9:.1f} GB are free",
            flush=True,
        )
        return False

    def targets(self, device: torch.device) -> tuple[float | None, float | None]:
        """The largest ratios of time and of memory that are good enough."""
        if device.type != "cpu" or self.proposition == "Prop. 2" or self.shape not in CPU_TARGETS:
            return None, None
        return CPU_TARGETS[self.shape], MEMORY_TARGET


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
    """One row for each proposition and each (n, c, a); tells which references do not fit into memory.

    Raises
    ------
    AssertionError
        Ours and the reference do not agree.
    """
    for shape, form in shapes.items():
        yield from _measure_shape(shape, form, settings)


def _measure_shape(shape: Shape, form: Form, settings: Settings) -> Iterator[Row]:
    cases = [Case("update + Prop. 1", shape, form)]
    if form == "full":
        cases.append(Case("Prop. 2", shape, form))
    cases = [case for case in cases if case.fits(settings.device)]
    if not cases:
        return
    _, c, a = shape
    inputs = _draw(shape, settings.device)
    covariance = ClassCovariance(c, a, form).to(settings.device)
    per_sample = PerSampleCovariance(c, a, settings.device, form)
    for _ in range(3):
        batch = _draw(shape, settings.device)
        covariance.update(batch.features.detach(), batch.labels)
        per_sample.update(batch.features.detach(), batch.labels)
    propositions = {"update + Prop. 1": _proposition_1, "Prop. 2": _proposition_2}
    losses = [propositions[case.proposition](inputs, covariance, per_sample) for case in cases]
    for ours, reference in losses:  # before timing updates the two sides unequally often
        torch.testing.assert_close(
            inputs.gradients(ours), inputs.gradients(reference), rtol=1e-3, atol=1e-5
        )
    for case, both in zip(cases, losses, strict=True):
        yield _measure_case(case, inputs, *both, settings)


def _measure_case(
    case: Case, inputs: Inputs, ours: Loss, reference: Loss, settings: Settings
) -> Row:
    calls = {
        "ours": lambda: inputs.gradients(ours),
        "reference": lambda: inputs.gradients(reference),
    }
    if case.reference_bytes > MANY_BYTES:
        settings = dataclasses.replace(settings, rounds=min(settings.rounds, MOST_ROUNDS))
    if case.reference_bytes > VERY_MANY_BYTES and settings.device.type == "cpu":
        settings = dataclasses.replace(settings, rounds=1, warm_up=0, seconds=0)
    seconds = interleaved(calls, settings)
    memory = tuple(allocated_bytes(call, settings.device) for call in calls.values())
    target, memory_target = case.targets(settings.device)
    return Row(
        *(
            "loss",
            f"{case}{_over_inputs(case, memory[0])}",
            seconds["ours"],
            seconds["reference"],
            target,
        ),
        memory=memory,
        memory_target=memory_target,
    )


def _over_inputs(case: Case, held: int) -> str:
    """Of diagonal covariances: the memory as a multiple of features, weight and statistics."""
    n, c, a = case.shape
    return f", {held / (4 * (n * a + 3 * c * a)):.1f} x inputs" if case.form == "diagonal" else ""


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
