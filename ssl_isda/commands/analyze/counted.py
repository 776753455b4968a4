"""The operations and kernels of one step of a run, on images of noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ssl_isda.assembly.networks import loss_of, method_of
from ssl_isda.assembly.parts import chosen
from ssl_isda.commands.analyze.cost import IN_PLACE, STEP
from ssl_isda.data.batch import Batch
from ssl_isda.models import MODELS
from ssl_isda.settings.config import Resolved
from ssl_isda.tasks import TASKS
from ssl_isda.tasks.contract import Task
from ssl_isda.training.objective import Objective, Terms

COUNTED = 2
"""Labeled images of the step that is counted, and unlabeled ones; a second step has twice as many of
these, which tells what one of each kind costs."""
DENSE_SIDE = 257
"""Of images whose pixels have classes: larger ones are counted at this size, and by their area."""


@dataclass(frozen=True)
class Counted:
    """A step of ``COUNTED`` labeled images.

    operations : floating-point operations, two for each multiply-add
    kernels : operations that read or write memory
    parameters : whose gradients several processes exchange
    """

    operations: float
    kernels: float
    parameters: int


def counted(run: Resolved, num_classes: int, side: int, num_unlabeled: int = COUNTED) -> Counted:
    """A step with so many unlabeled images, ``side`` pixels high and wide."""
    task = chosen(TASKS, "task", run)()
    look = min(side, DENSE_SIDE) if task.is_dense else side
    student = chosen(MODELS, "model", run)(num_classes=num_classes, shape=(3, look, look))
    loss = loss_of(run, student)
    student = loss.prepared(student).train()
    method = method_of(run, student, num_unlabeled)
    second = getattr(student, "auxiliary_head", None) if task.is_dense else None
    objective = Objective(
        *(method, run.isda if run.config.isda else None, num_classes),
        student.head.weight.shape[1],
        loss=loss,
        task=task,
        auxiliary_features=None if second is None else second.weight.shape[1],
    ).train()
    images, *labeled_views = (
        torch.randn(COUNTED, 3, look, look) for _ in range(1 + len(method.labeled_views))
    )
    views = tuple(torch.randn(num_unlabeled, 3, look, look) for _ in method.views)
    indices = torch.arange(num_unlabeled)
    seen = Batch(images, _labels(task, look), views, indices, tuple(labeled_views))
    operations = FlopCounterMode(display=False, custom_mapping={**IN_PLACE, **GROUPED})
    with operations, _Kernels() as kernels:
        terms: Terms = objective(student, seen, STEP)
        terms.total.backward()
    total = operations.get_total_flops() * side**2 / look**2
    return Counted(total, kernels.count, sum(p.numel() for p in student.parameters()))


def _labels(task: Task, side: int) -> torch.Tensor:
    """A class for each image, or for each pixel."""
    labels = torch.arange(COUNTED)
    return labels.view(-1, 1, 1).repeat(1, side, side) if task.is_dense else labels


class _Kernels(TorchDispatchMode):
    """Counts the operations that read or write memory."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def _backward(
    grad: Sequence[int], _: object, weight: Sequence[int], *rest: Any, **options: Any
) -> int:
    """Operations of a convolution's gradients: those of the images, those of the weights, or both."""
    wanted: Sequence[bool] = rest[-1][:2]
    return 2 * math.prod(grad) * math.prod(weight[1:]) * sum(wanted)


GROUPED = {torch.ops.aten.convolution_backward: _backward}
"""Torch counts the gradient of a grouped convolution's weights once for each group."""
