r"""How strong ISDA was at the end of runs, from their checkpoints.

What a lambda amounts to depends on the network, which can answer the loss by other features and
weights. So runs with one lambda_0 need not be alike: what acts on a logit is the exponent of Prop. 1,

    (lambda/2) q_c[j, c],    q_c[j, c] = (w_j - w_c)^T Sigma_c (w_j - w_c),

in nats. With ``--matched-strength`` Sigma is that of the class itself, by which the strength of another
covariance is set at each step.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ssl_isda.assembly.trained import isda_with_state
from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import counted
from ssl_isda.commands.analyze.comparison import told
from ssl_isda.isda.learned import Covariance
from ssl_isda.isda.variances import variance_to_target
from ssl_isda.results.cells import Cell, cells_of, row_name, settings_that_differ
from ssl_isda.results.runs import Run
from ssl_isda.results.tables import Table, markdown_table
from ssl_isda.settings.options import Place

HEADS = ("mean (lambda/2) q", "trace of Sigma", "squared length of w")
_TEXT = """\
How strong ISDA was at the last step: the mean of (lambda/2) q_c[j, c] over classes c and others j, in
nats, with q_c[j, c] = (w_j - w_c)^T Sigma_c (w_j - w_c), beside the mean of tr Sigma_c over the classes
and that of |w_j|^2 over the rows of the head. With a matched strength Sigma_c is that of the class
itself. Medians of the runs, in brackets the least and the largest.
"""


@dataclass(frozen=True)
class Reached:
    """The end of one run."""

    exponent: float
    """The mean of (lambda/2) q_c[j, c] over the classes c and all others j, in nats, before any cap."""
    trace: float
    """The mean of tr Sigma_c over the classes c."""
    length: float
    """The mean of |w_j|^2 over the classes j."""


@dataclass(frozen=True)
class Row:
    """A cell, with the median, the least and the largest of its runs for each number of ``Reached``."""

    name: str
    runs: int
    numbers: tuple[tuple[float, float, float], ...]


@torch.no_grad()
def reached(weight: Tensor, covariance: Covariance, strength: float) -> Reached:
    """What W, (c, a), and the covariances of its classes amount to, in float64.

    Parameters
    ----------
    strength : lambda
    """
    weight, covariance = weight.double(), covariance.double()
    classes = torch.arange(covariance.num_classes, device=weight.device)
    q = variance_to_target(weight, covariance, classes)  # 0 where j is c
    traces = [covariance.matrix(int(c)).diagonal().sum() for c in classes]
    return Reached(
        strength / 2 * float(q.sum()) / (len(q) * max(1, len(q) - 1)),
        float(torch.stack(traces).mean()),
        float(weight.square().sum(1).mean()),
    )


def strengths(runs: Sequence[Run], place: Place) -> list[Row]:
    """A row for each cell with ISDA that has finished runs.

    Raises
    ------
    UsageError
        There is no such run, or one has no checkpoint.
    """
    cells = [cell for cell in cells_of(runs) if cell.isda and cell.finished]
    if not cells:
        raise UsageError("none of these runs was trained with --isda and has ended")
    finished = [run for cell in cells for run in cell.finished]
    if kept := [run for run in finished if not (run.folder / "config.yaml").is_file()]:
        raise UsageError(
            f"{kept[0].path} was kept without its checkpoint: give the folders of runs"
        )
    found = counted((_of_run(run.folder, place) for run in finished), len(finished), "run")
    return [
        _row(_name(cell, cells), [*itertools.islice(found, len(cell.finished))]) for cell in cells
    ]


def _of_run(folder: Path, place: Place) -> Reached:
    resolved, weight, covariance = isda_with_state(folder, place)
    if resolved.config.threads is not None:
        torch.set_num_threads(resolved.config.threads)
    return reached(weight, covariance, resolved.isda.strength(1.0))


def _name(cell: Cell, cells: Sequence[Cell]) -> str:
    """What a comparison of these cells calls it."""
    beside = [each for each in cells if (each.column, each.method) == (cell.column, cell.method)]
    words = told(cell, settings_that_differ(beside), beside)
    return f"{cell.column.name}, {row_name((cell.method, True, words))}"


def _row(name: str, ends: Sequence[Reached]) -> Row:
    numbers = zip(*(astuple(end) for end in ends), strict=True)
    spreads = tuple(
        (_kept(statistics.median(each)), _kept(min(each)), _kept(max(each))) for each in numbers
    )
    return Row(name, len(ends), spreads)


def _kept(number: float) -> float:
    """With six figures, which are more than a table shows."""
    return float(f"{number:.6g}")


def strength_files(rows: Sequence[Row]) -> dict[str, str]:
    """The content of each file, by name."""
    lines = "".join(f"{json.dumps(astuple(row))}\n" for row in rows)
    return {"strength.md": f"{_TEXT}\n{_table(rows)}\n", "strength.jsonl": lines}


def read_strength(file: Path) -> list[Row]:
    """The rows of a strength.jsonl; ValueError or TypeError if it is none."""
    rows = []
    for line in file.read_text("utf-8").splitlines():
        name, runs, numbers = json.loads(line)
        spreads = tuple((float(a), float(b), float(c)) for a, b, c in numbers)
        if len(spreads) != len(HEADS):
            raise ValueError(f"{len(spreads)} numbers in a row, in place of {len(HEADS)}")
        rows.append(Row(str(name), int(runs), spreads))
    if not rows:
        raise ValueError("no row is in it")
    return rows


def _table(rows: Sequence[Row]) -> str:
    lines: list[list[object]] = [["data, method", "runs", *HEADS]]
    for row in rows:
        lines.append([row.name, row.runs, *map(_in_words, row.numbers)])
    return markdown_table(Table(lines))


def _in_words(spread: tuple[float, float, float]) -> str:
    """ "2.27 [2.19, 2.41]"; of runs that are all alike the one number."""
    middle, least, most = (
        f"{number:,.0f}" if number >= 1000 else f"{number:#.3g}".rstrip(".") for number in spread
    )
    return middle if least == most else f"{middle} [{least}, {most}]"
