"""What runs will cost, before they are made: all their operations, and hours on a GPU.

    operations = T (n_l o_l + n_u o_u) + E n_t o_l / 3
    hours = max(operations / (g peak share), (T + E n_t / (3 n_l)) k launch + messages) / 3600
    messages = 2 (g - 1) / g T b / bandwidth

T steps of n_l labeled and n_u unlabeled images, the partial ones counted as whole, E epochs, each with
a test of n_t images. o_l and o_u are the floating-point operations of one image forward and backward,
two for each multiply-add, as torch's own counter finds them in a step on two images of noise: supervised
training has about 6 times the multiply-adds of a forward pass. k is the number of kernels of a step,
counted there, too: a GPU takes a time for each however small it is, which bounds deep and narrow
networks. On g GPUs each computes its part of a batch, and the b bytes of all gradients in fp32 go round
once a step, as rings of NCCL send them. Share, launch and bandwidth are assumptions; that messages do
not hide behind the computation is the worse case, and what several machines or BatchNorm of the whole
batch would add is not counted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ssl_isda import plugins
from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import show
from ssl_isda.base.words import printed, shown
from ssl_isda.commands.analyze.counted import COUNTED, counted
from ssl_isda.commands.analyze.options import CostConfig
from ssl_isda.results.tables import Table, markdown_table
from ssl_isda.runs.grid_expansion import expand
from ssl_isda.runs.grid_file import read_grid
from ssl_isda.runs.run_folder import cell_name
from ssl_isda.settings.components import read_components
from ssl_isda.settings.config import Resolved
from ssl_isda.settings.places import settings_file
from ssl_isda.settings.resolve import resolve
from ssl_isda.settings.yaml_files import compose, pairs

PEAKS = {"v100": 125, "a100": 312, "h100": 989, "rtx_3090": 71, "rtx_4090": 165}
"""TFLOP/s of dense matrix products in half precision, as their makers state them."""
IMAGES = {
    "cifar10": (50_000, 10_000, 32),
    "cifar100": (50_000, 10_000, 32),
    "svhn": (73_257, 26_032, 32),
    "stl10": (105_000, 8_000, 96),
    "imagenet": (1_281_167, 50_000, 224),
    "cityscapes": (2_975, 500, 769),
}
"""Training and test images, and the side in pixels of what the network sees of one in training, unless
options say otherwise."""
TESTED = {"cityscapes": 1024 * 2048}
"""Pixels of a test image, where that is not what training sees."""
NUM_CLASSES = {
    "cifar10": 10,
    "cifar100": 100,
    "svhn": 10,
    "stl10": 10,
    "imagenet": 1000,
    "cityscapes": 19,
}
GIGABYTES = 50.0
"""That the gradients of a step pass from GPU to GPU in a second; links of one machine reach more, and
those between machines less."""


@dataclass(frozen=True)
class Planned:
    """Runs of one cell of a table."""

    name: str
    num_runs: int
    operations: float
    """Floating-point operations of all of them."""
    kernels: float
    """That they launch."""
    gradients: float
    """Bytes of all gradients of all steps, in fp32."""

    def hours(self, options: CostConfig) -> float:
        """On so many GPUs, one run after another."""
        return self.seconds(options) / 3600

    def seconds(self, options: CostConfig) -> float:
        """The slower of computing and launching, and then the messages between GPUs."""
        slower = max(self._computing(options), self._launching(options))
        others = (options.gpus - 1) / options.gpus
        return slower + 2 * others * self.gradients / (GIGABYTES * 1e9)

    def is_bound_by_kernels(self, options: CostConfig) -> bool:
        return self._launching(options) > self._computing(options)

    def _computing(self, options: CostConfig) -> float:
        return self.operations / (options.gpus * PEAKS[options.gpu] * 1e12 * options.share)

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
    assumed = {name: getattr(options, name) for name in ("gpu", "gpus", "share", "launch_us")}
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
    names = ("num_runs", "operations", "kernels", "gradients")
    return Planned(name, *(sum(getattr(one, part) for one in each) for part in names))


def _what_costs(run: Resolved) -> object:
    """Equal for runs whose steps have the same operations."""
    config, isda = run.config, vars(run.isda) | {"lambda_0": 0, "uncertainty_weight": 0}
    kinds = ("model", "method", "loss", "task")
    return (
        (config.dataset, side_of(run), config.epochs, config.steps, config.partial_batches),
        (config.batch_size, config.unlabeled_batch_size, config.isda and repr(isda)),
        repr([each for each in run.options.items() if each[0][0] in kinds]),
    )


def of_one(run: Resolved) -> Planned:
    """Its training, and the tests after its epochs."""
    config = run.config
    num_train, num_test, _ = IMAGES[config.dataset]
    side = side_of(run)
    num_test = math.ceil(num_test * TESTED.get(config.dataset, side**2) / side**2)
    unlabeled_batch = min(config.unlabeled_batch_size, num_train)
    steps_per_epoch = num_train // unlabeled_batch + (
        config.partial_batches and num_train % unlabeled_batch > 0
    )
    num_steps = config.steps or config.epochs * steps_per_epoch
    num_tested = -(-num_steps // steps_per_epoch) * num_test
    num_classes = NUM_CLASSES[config.dataset]
    whole = counted(run, num_classes, side)
    more, alone = whole, whole
    if config.method != "supervised":
        more = counted(run, num_classes, side, 2 * COUNTED)
        alone = counted(_supervised(run), num_classes, side)
    unlabeled = (more.operations - whole.operations) / COUNTED
    labeled = whole.operations / COUNTED - unlabeled
    of_step = config.batch_size * labeled + unlabeled_batch * unlabeled
    return Planned(
        cell_name(run),
        1,
        num_steps * of_step + num_tested * alone.operations / COUNTED / 3,
        num_steps * whole.kernels + num_tested / config.batch_size * alone.kernels / 3,
        4.0 * num_steps * whole.parameters,
    )


def side_of(run: Resolved) -> int:
    """Pixels along each side of what the network sees in training."""
    asked = run.values.get("crop_size") or run.values.get("image_size")
    return int(asked or IMAGES[run.config.dataset][2])


def _supervised(run: Resolved) -> Resolved:
    return replace(run, config=run.config.model_copy(update={"method": "supervised"}))


def _lines(rows: Sequence[Planned], options: CostConfig) -> Iterator[str]:
    peak = f"{options.gpu} of {PEAKS[options.gpu]} TFLOP/s in half precision"
    yield "Operations forward and backward, two for each multiply-add, and those of a test after each"
    where = f"{options.gpus} {peak} each" if options.gpus > 1 else f"one {peak}"
    yield f"epoch. Hours on {where}: at {100 * options.share:g} % of its peak,"
    yield f"or {options.launch_us:g} microseconds for each kernel where that is more (marked k). Both are"
    yield "assumptions, no measurements."
    if options.gpus > 1:
        yield f"Of a run on {options.gpus} GPUs each computes its part of the images, and then all"
        yield f"gradients go round in fp32 at {GIGABYTES:g} GB/s, an assumption, too: none of that hides"
        yield "behind computing."
    yield ""
    heads = ["runs", "number", "PFLOP of one", "hours of one", "hours of all"]
    yield markdown_table(Table([heads, *(_row(row, options) for row in rows)]))
    whole, hours = _together("", rows), sum(row.hours(options) for row in rows)
    yield f"\n{whole.num_runs} runs: {whole.operations / 1e15:,.0f} PFLOP, {hours:,.1f} hours"


def _row(row: Planned, options: CostConfig) -> list[str]:
    operations, hours = row.operations / row.num_runs / 1e15, row.hours(options)
    mark = " k" if row.is_bound_by_kernels(options) else ""
    numbers = (f"{operations:,.1f}", f"{hours / row.num_runs:,.2f}{mark}", f"{hours:,.1f}")
    return [row.name, str(row.num_runs), *numbers]
