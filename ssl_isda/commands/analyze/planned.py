"""What runs will cost, before they are made: all their operations, and hours on a GPU.

    operations = T (n_l o_l + n_u o_u) + E n_t o_l / 3
    hours = max(operations / (peak share), (T + E n_t / (3 n_l)) k launch) / 3600

T steps of n_l labeled and n_u unlabeled images, the partial ones counted as whole, E epochs, each with
a test of n_t images. o_l and o_u are the floating-point operations of one image forward and backward,
two for each multiply-add, as torch's own counter finds them in a step on two images of noise: supervised
training has about 6 times the multiply-adds of a forward pass. k is the number of kernels of a step,
counted there, too: a GPU takes a time for each however small it is, which bounds deep and narrow
networks. Share and launch are assumptions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ssl_isda import plugins
from ssl_isda.assembly.networks import loss_of, method_of
from ssl_isda.assembly.parts import chosen
from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import show
from ssl_isda.base.words import printed, shown
from ssl_isda.commands.analyze.cost import IN_PLACE, STEP
from ssl_isda.commands.analyze.options import CostConfig
from ssl_isda.data.batch import Batch
from ssl_isda.models import MODELS
from ssl_isda.results.tables import Table, markdown_table
from ssl_isda.runs.grid_expansion import expand
from ssl_isda.runs.grid_file import read_grid
from ssl_isda.runs.run_folder import cell_name
from ssl_isda.settings.components import read_components
from ssl_isda.settings.config import Resolved
from ssl_isda.settings.places import settings_file
from ssl_isda.settings.resolve import resolve
from ssl_isda.settings.yaml_files import compose, pairs
from ssl_isda.tasks import TASKS
from ssl_isda.training.objective import Objective, Terms

PEAKS = {"v100": 125, "a100": 312, "h100": 989, "rtx_3090": 71, "rtx_4090": 165}
"""TFLOP/s of dense matrix products in half precision, as their makers state them."""
IMAGES = {
    "cifar10": (50_000, 10_000, 32),
    "cifar100": (50_000, 10_000, 32),
    "svhn": (73_257, 26_032, 32),
    "stl10": (105_000, 8_000, 96),
}
"""Training and test images, and their side in pixels."""
NUM_CLASSES = {"cifar10": 10, "cifar100": 100, "svhn": 10, "stl10": 10}
_COUNTED = 2
"""Labeled images of the step that is counted, and unlabeled ones; a second step has twice as many of
these, which tells what one of each kind costs."""


@dataclass(frozen=True)
class Planned:
    """Runs of one cell of a table."""

    name: str
    num_runs: int
    operations: float
    """Floating-point operations of all of them."""
    kernels: float
    """That they launch."""

    def hours(self, options: CostConfig) -> float:
        """On one GPU, one run after another."""
        return max(self._computing(options), self._launching(options)) / 3600

    def is_bound_by_kernels(self, options: CostConfig) -> bool:
        return self._launching(options) > self._computing(options)

    def _computing(self, options: CostConfig) -> float:
        return self.operations / (PEAKS[options.gpu] * 1e12 * options.share)

    def _launching(self, options: CostConfig) -> float:
        return self.kernels * options.launch_us / 1e6


def planned(options: CostConfig) -> dict[str, str]:
    """The content of each file, by name, for the settings file or the grid of the options.

    Raises
    ------
    UsageError
        There is no such file, something in it is wrong, or it is about images of other sizes.
    """
    plugins.load()
    assert options.config is not None
    path = settings_file(options.config)
    source = printed(str(path))
    if "runs" in pairs(compose(path, source), source):
        grid = read_grid(path, read_components())
        runs = [run.resolved for run in expand(grid, {})]
    else:
        runs = _with_and_without_isda(path)
    rows = [*_rows(runs)]
    assumed = {"gpu": options.gpu, "share": options.share, "launch_us": options.launch_us}
    numbers = {**assumed, "runs": [asdict(row) | {"hours": row.hours(options)} for row in rows]}
    return {
        "planned_cost.md": "\n".join(_lines(rows, options)) + "\n",
        "planned_cost.json": json.dumps(numbers, indent=1) + "\n",
    }


def _with_and_without_isda(path: Path) -> list[Resolved]:
    try:
        return [resolve(["--config", str(path), *flag]) for flag in ([], ["--isda"])]
    except UsageError as error:
        raise UsageError(f"analyze cost --config {printed(str(path))}: {error}") from error


def _rows(runs: Sequence[Resolved]) -> Iterator[Planned]:
    """Runs that one name stands for, such as those of all seeds, in one row."""
    known: dict[object, Planned] = {}
    named: dict[str, list[Planned]] = {}
    for run in runs:
        config, name = run.config, cell_name(run)
        if config.dataset not in IMAGES or config.imbalance is not None:
            raise UsageError(
                f"analyze cost --config knows how many images {', '.join(IMAGES)} have, not "
                f"{shown(config.dataset)}{' with --imbalance' if config.imbalance else ''}"
            )
        if (key := _what_costs(run)) not in known:
            show(f"counting {name} ...")
            known[key] = of_one(run)
        named.setdefault(name, []).append(known[key])
    for name, each in named.items():
        yield _together(name, each)


def _together(name: str, each: Sequence[Planned]) -> Planned:
    operations, kernels = sum(one.operations for one in each), sum(one.kernels for one in each)
    return Planned(name, sum(one.num_runs for one in each), operations, kernels)


def _what_costs(run: Resolved) -> object:
    """Equal for runs whose steps have the same operations."""
    config, isda = run.config, vars(run.isda) | {"lambda_0": 0, "uncertainty_weight": 0}
    kinds = ("model", "method", "loss")
    return (
        (config.dataset, config.epochs, config.steps, config.batch_size),
        (config.unlabeled_batch_size, config.isda and repr(isda)),
        repr([each for each in run.options.items() if each[0][0] in kinds]),
    )


def of_one(run: Resolved) -> Planned:
    """Its training, and the tests after its epochs."""
    config = run.config
    num_train, num_test, _ = IMAGES[config.dataset]
    unlabeled_batch = min(config.unlabeled_batch_size, num_train)
    steps_per_epoch = num_train // unlabeled_batch + (
        config.partial_batches and num_train % unlabeled_batch > 0
    )
    num_steps = config.steps or config.epochs * steps_per_epoch
    num_tested = -(-num_steps // steps_per_epoch) * num_test
    whole, more = _counted(run), _counted(run, 2 * _COUNTED)
    unlabeled = (more.operations - whole.operations) / _COUNTED
    labeled = whole.operations / _COUNTED - unlabeled
    alone = _counted(_supervised(run))
    of_step = config.batch_size * labeled + unlabeled_batch * unlabeled
    return Planned(
        cell_name(run),
        1,
        num_steps * of_step + num_tested * alone.operations / _COUNTED / 3,
        num_steps * whole.kernels + num_tested / config.batch_size * alone.kernels / 3,
    )


def _supervised(run: Resolved) -> Resolved:
    return replace(run, config=run.config.model_copy(update={"method": "supervised"}))


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


def _counted(run: Resolved, num_unlabeled: int = _COUNTED) -> Planned:
    """Operations and kernels of a step of two labeled images and so many unlabeled ones."""
    num_classes, (*_, side) = NUM_CLASSES[run.config.dataset], IMAGES[run.config.dataset]
    student = chosen(MODELS, "model", run)(num_classes=num_classes, shape=(3, side, side))
    loss = loss_of(run, student)
    student = loss.prepared(student).train()
    method = method_of(run, student, num_unlabeled)
    isda = run.isda if run.config.isda else None
    sizes = (num_classes, student.head.weight.shape[1])
    task = chosen(TASKS, "task", run)()
    objective = Objective(method, isda, *sizes, loss=loss, task=task).train()
    images, *labeled_views = (
        torch.randn(_COUNTED, 3, side, side) for _ in range(1 + len(method.labeled_views))
    )
    views = tuple(torch.randn(num_unlabeled, 3, side, side) for _ in method.views)
    labels, indices = torch.arange(_COUNTED), torch.arange(num_unlabeled)
    seen = Batch(images, labels, views, indices, tuple(labeled_views))
    operations = FlopCounterMode(display=False, custom_mapping={**IN_PLACE, **GROUPED})
    with operations, _Kernels() as kernels:
        terms: Terms = objective(student, seen, STEP)
        terms.total.backward()
    return Planned("", 0, operations.get_total_flops(), kernels.count)


def _backward(
    grad: Sequence[int], _: object, weight: Sequence[int], *rest: Any, **options: Any
) -> int:
    """Operations of a convolution's gradients: those of the images, those of the weights, or both."""
    wanted: Sequence[bool] = rest[-1][:2]
    return 2 * math.prod(grad) * math.prod(weight[1:]) * sum(wanted)


GROUPED = {torch.ops.aten.convolution_backward: _backward}
"""Torch counts the gradient of a grouped convolution's weights once for each group."""


def _lines(rows: Sequence[Planned], options: CostConfig) -> Iterator[str]:
    peak = f"{options.gpu} of {PEAKS[options.gpu]} TFLOP/s in half precision"
    yield "Operations forward and backward, two for each multiply-add, and those of a test after each"
    yield f"epoch. Hours on one {peak}: at {100 * options.share:g} % of its peak,"
    yield f"or {options.launch_us:g} microseconds for each kernel where that is more (marked k). Both are"
    yield "assumptions, no measurements.\n"
    heads = ["runs", "number", "PFLOP of one", "hours of one", "hours of all"]
    yield markdown_table(Table([heads, *(_row(row, options) for row in rows)]))
    whole, hours = _together("", rows), sum(row.hours(options) for row in rows)
    yield f"\n{whole.num_runs} runs: {whole.operations / 1e15:,.0f} PFLOP, {hours:,.1f} hours"


def _row(row: Planned, options: CostConfig) -> list[str]:
    operations, hours = row.operations / row.num_runs / 1e15, row.hours(options)
    mark = " k" if row.is_bound_by_kernels(options) else ""
    numbers = (f"{operations:,.1f}", f"{hours / row.num_runs:,.2f}{mark}", f"{hours:,.1f}")
    return [row.name, str(row.num_runs), *numbers]
