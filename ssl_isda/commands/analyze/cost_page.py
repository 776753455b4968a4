"""What ``run.py analyze cost`` writes: ours, and the paper's Table 3."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from ssl_isda.commands.analyze.cost import Case, Cost
from ssl_isda.results.tables import Table, markdown_table


class Printed(NamedTuple):
    """A network's rows of the paper's Table 3, as printed; supervised training."""

    network: str
    operations: str
    """Million multiply-adds of an image."""
    of_10: tuple[str, str, str]
    """What ISDA adds with 10 classes: million operations, % of them, % of the wall time on a V100."""
    of_100: tuple[str, str, str]
    """The same with 100."""


TABLE_3: Mapping[str, Printed] = {
    "resnet32": Printed("ResNet-32", "69.43", ("0.05", "0.07", "1.85"), ("0.44", "0.63", "1.85")),
    "resnet110": Printed(
        "ResNet-110", "254.20", ("0.05", "0.02", "4.48"), ("0.44", "0.17", "2.94")
    ),
    "se_resnet110": Printed(
        "SE-ResNet-110", "254.73", ("0.05", "0.02", "2.17"), ("0.44", "0.17", "1.08")
    ),
    "wrn_16_8": Printed(
        "Wide-ResNet-16-8", "1550", ("2.96", "0.19", "3.39"), ("27.19", "1.76", "10.77")
    ),
    "wrn_28_10": Printed(
        "Wide-ResNet-28-10", "5250", ("4.61", "0.09", "2.37"), ("42.46", "0.81", "12.35")
    ),
    "resnext29_8x64d": Printed(
        "ResNeXt-29, 8x64d", "5390", ("11.80", "0.22", "1.90"), ("109.00", "2.02", "12.32")
    ),
    "densenet_bc_100_12": Printed(
        "DenseNet-BC-100-12", "292.38", ("1.35", "0.46", "5.50"), ("12.43", "4.25", "12.03")
    ),
    "shake_shake_26_2x32d": Printed(
        "Shake-Shake (26, 2x32d)", "426.69", ("0.19", "0.04", "5.77"), ("1.76", "0.41", "2.21")
    ),
    "shake_shake_26_2x112d": Printed(
        "Shake-Shake (26, 2x112d)", "5130", ("2.31", "0.05", "3.85"), ("21.30", "0.42", "5.07")
    ),
}
"""By the name that the network has here."""


def cost_files(costs: Sequence[Cost], machine: str) -> dict[str, str]:
    """The content of each file, by name; ``machine`` says where the time was measured."""
    numbers = {"machine": machine, "costs": [asdict(cost) for cost in costs]}
    return {
        "cost.md": "\n".join(_lines(costs, machine)) + "\n",
        "cost.json": json.dumps(numbers) + "\n",
    }


def read_cost(file: Path) -> tuple[list[Cost], str]:
    """Costs and machine from a cost.json; ValueError, TypeError or KeyError if it is none."""
    kept = json.loads(file.read_bytes())
    costs = [
        Cost(**row | {"case": Case(**row["case"]), "ratios": tuple(row["ratios"])})
        for row in kept["costs"]
    ]
    return costs, kept["machine"]


def _lines(costs: Sequence[Cost], machine: str) -> Iterator[str]:
    yield "What ISDA adds to a training step. Operations: million multiply-adds of the forward pass for"
    yield "each labeled image (with its unlabeled one, where the method has some), convolutions and"
    yield "matrix products. In brackets the paper's formula for a sample, (C + 1) D^2; a batch shares"
    yield "one table per class, so that fewer are made. Time: whole steps with and without in turns,"
    yield "median and quartiles of the ratio, less 1, in %; on one CPU thread the processor's time."
    yield f"Ours on {machine}.\n"
    heads = ["network, training", "C", "without ISDA", "ISDA adds", "%", "time: + %"]
    measured = {cost.case.model for cost in costs}
    rest = [row for name in TABLE_3 if name not in measured for row in _printed(name)]
    yield markdown_table(Table([heads, *_paired(costs), *rest]))


def _paired(costs: Sequence[Cost]) -> Iterator[list[object]]:
    """Each network's costs, and behind them what the paper prints of it."""
    for model, of_model in itertools.groupby(costs, key=lambda cost: cost.case.model):
        yield from map(_row, of_model)
        yield from _printed(model)


def _printed(model: str) -> Iterator[list[object]]:
    """What the paper prints of a network, with 10 and with 100 classes; nothing of most."""
    if model in TABLE_3:
        network, plain, *parts = TABLE_3[model]
        for num_classes, (added, share, time) in zip((10, 100), parts, strict=True):
            name = f"paper: {network}, supervised"
            yield [name, num_classes, plain, added, share, f"+{time}"]


def _row(cost: Cost) -> list[object]:
    case, (low, middle, high) = cost.case, cost.time
    return [
        f"{case.model}, width {case.width:g}, {case.method}",
        case.num_classes,
        f"{cost.plain / 1e6:.2f}",
        f"{cost.added / 1e6:.3f} ({cost.formula / 1e6:.3f})",
        f"{100 * cost.added / cost.plain:.3f}",
        f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]",
    ]
