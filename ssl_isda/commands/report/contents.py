"""What a report says, before it is put into any form."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from ssl_isda.results.cells import (
    Cell,
    Column,
    Comparison,
    Row,
    cells_of,
    comparisons_of,
    row_order,
    seeds_name,
)
from ssl_isda.results.columns import odd_ones
from ssl_isda.results.headlines import where_better
from ssl_isda.results.literature import protocols
from ssl_isda.results.paper import figures
from ssl_isda.results.runs import Run

SHORT = 12
"""Hexadecimal digits of a checksum that are shown to people."""
FACTS = ("commit", "versions", "machine", "command")
"""What a run was made with."""
PUBLISHED_IN_WORDS = (
    "Below it what is published of the method by others, each figure in a protocol of its own, none of "
    "which can be held against another, and ours minus the figure, where it counts best errors our best "
    "ones."
)
"""What the figures of the literature are."""
BESIDE_IN_WORDS = (
    "At the last epoch on the test set, in %, mean ± standard deviation (n - 1) of n seeds; the top-5 "
    "error, where there are many classes, over the epochs of the test error. The balanced error is the "
    "mean of the classes' own errors, the macro F1 the mean of their F1; classes without test images "
    "enter neither. Calibration: the expected calibration error over 15 bins of confidence."
)
"""What the scores beside the error are."""


def compared_in_words(runs: Sequence[Run]) -> str:
    """How a method with ISDA is compared with the same without."""
    return (
        f"With minus without, in percentage points: {where_better(runs)} where ISDA helps. By seed: the "
        "mean of the differences on the same seed and labels with its 95 % interval of Student's t. "
        "Detectable: the smallest effect that these pairs see with 80 % power; a smaller one may be "
        "there unseen. The test is Welch's, two-sided, where both sides have at least 3 finished runs. "
        "Nothing is corrected for the number of rows; `analyze comparison` does that."
    )


class Report:
    """Everything that the runs tell."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.cells = cells_of(runs)
        self.odd_ones = odd_ones(runs)
        """What was made on other images than the rest, and stands in a column of its own."""
        in_cells = [run for cell in self.cells for run in cell.runs]
        self.strays = [run for run in runs if not run.settings]
        """Runs whose settings cannot be read."""
        self.runs = in_cells + self.strays

    @cached_property
    def columns(self) -> list[Column]:
        return list(dict.fromkeys(cell.column for cell in self.cells))

    @cached_property
    def rows(self) -> list[Row]:
        return sorted({cell.row for cell in self.cells}, key=row_order)

    def in_row(self, row: Row) -> list[Cell]:
        """The cell in every column; one without runs where there is none."""
        cells = {cell.column: cell for cell in self.cells if cell.row == row}
        one = next(iter(cells.values()))
        empty = (replace(one, column=c, runs=(), missing_seeds=()) for c in self.columns)
        return [cells.get(cell.column, cell) for cell in empty]

    @cached_property
    def comparisons(self) -> list[Comparison]:
        return comparisons_of(self.cells)

    @cached_property
    def papers(self) -> str:
        """What the figures of the paper are that stand beside ours; empty if there are none."""
        cells = (cell for row in self.rows for cell in self.in_row(row))
        beside = {cell.figure.table: cell.figure.error.n for cell in cells if cell.figure}
        if not beside:
            return ""
        tables = [t for t in dict.fromkeys(figure.table for figure in figures()) if t in beside]
        return f"the paper's {', '.join(tables)}, with the number n of its runs" + (
            " (3 where both its versions print the figure: the first says three runs, the second five)"
            if 3 in beside.values()
            else ""
        )

    @cached_property
    def protocols(self) -> list[str]:
        """How the published figures beside ours were made: "USB: three runs, ..."."""
        beside = {figure.table for cell in self.cells for figure in cell.published}
        return [
            f"{each.name}: {each.words}" for each in protocols().values() if each.name in beside
        ]

    @property
    def has_deviations(self) -> bool:
        """Whether something is compared that was made with other settings than the paper's."""
        return any(cell.deviations for cell in self.cells)

    @property
    def summary(self) -> str:
        """ "12 runs in 4 cells: 9 finished, 2 failed, 1 damaged"."""
        states: Counter[str] = Counter(run.state for run in self.runs)
        order = ("finished", "unfinished", "failed", "damaged", "repeated")
        counts = [f"{states[state]} {state}" for state in order if states[state]]
        return f"{_count(self.runs, 'run')} in {_count(self.cells, 'cell')}: {', '.join(counts)}"

    def cells_in(self, column: Column) -> list[Cell]:
        return [cell for cell in self.cells if cell.column == column]

    @cached_property
    def cautions(self) -> dict[str, list[str]]:
        """What must be known before a number is used, by kind; kinds without a case are left out."""
        found = {
            "Runs on other images, in columns of their own": self.odd_ones,
            "Failed runs, in no mean": self._with_problems("failed"),
            "Damaged runs, in no mean": self._with_problems("damaged"),
            "Runs started but not finished, in no mean": self._with_problems("unfinished"),
            "Runs that repeat a seed, in no mean": self._with_problems("repeated"),
            "Cells with a single seed: no standard deviation": self._with_errors(1),
            "Cells without a result": self._with_errors(0),
            "Seeds missing that other cells of the column have": _grouped(
                (seeds_name(cell.missing_seeds), cell) for cell in self.cells if cell.missing_seeds
            ),
            "Settings that differ from the paper's recipe": _grouped(
                ("; ".join(cell.deviations), cell) for cell in self.cells if cell.deviations
            ),
            "Not what it seems": [*_grouped(self._doubts()), *self._doubts_of_columns()],
            "Warnings in the logs": [
                f"{run.path}: {warning}" for run in self.runs for warning in run.warnings
            ],
        }
        return {kind: cases for kind, cases in found.items() if cases}

    def _with_problems(self, state: str) -> list[str]:
        return [f"{run.path}: {run.problem}" for run in self.runs if run.state == state]

    def _with_errors(self, count: int) -> list[str]:
        return [cell.full_name for cell in self.cells if len(cell.errors) == count]

    def _doubts(self) -> Iterator[tuple[str, Cell]]:
        """What makes numbers unlike that one mean puts together."""
        for cell in self.cells:
            torch = {str(run.packages.get("torch", "")) for run in cell.finished}
            commits = {run.commit for run in cell.finished}
            for what, known in (("commits", commits), ("versions of torch", torch)):
                if len(known - {""}) > 1:
                    yield f"runs of different {what}", cell
            if any(run.commit.endswith("-dirty") for run in cell.finished):
                yield "made with files that differ from the commit", cell
            if any(run.result.get("extended_from") for run in cell.finished):
                yield "extended from a shorter run, which is not so long a run from the start", cell
            digests = [run.split.digest for run in cell.finished if run.split]
            if len(digests) > 1 and len(set(digests)) == 1 and cell.column.labels is not None:
                yield "all seeds have the same labeled images", cell
            if len({run.result.get("averaged_epochs") for run in cell.finished}) > 1:
                yield "errors that average different numbers of epochs", cell

    def _doubts_of_columns(self) -> Iterator[str]:
        for column in self.columns:
            runs = [run for cell in self.cells_in(column) for run in cell.finished]
            if len({run.split.checksum for run in runs if run.split}) > 1:
                yield f"runs on different data (their checksums differ): {column.name}"


def by_value(runs: Sequence[Run], fact: str) -> list[str]:
    """Each value of a fact once, with the seeds that have it where there are several."""
    seeds: dict[str, list[int]] = defaultdict(list)
    for run in runs:
        if value := getattr(run, fact):
            seeds[value].append(run.seed)
    if len(seeds) == 1:
        return list(seeds)
    return [f"{value} (seed {', '.join(map(str, have))})" for value, have in seeds.items()]


def _grouped(cases: Iterable[tuple[str, Cell]]) -> list[str]:
    """Each statement once: "seed 3: CIFAR-10, 1,000 labels (VAT; VAT + ISDA), SVHN, 500 labels (VAT)"."""
    cells: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for statement, cell in cases:
        cells[statement][cell.column.name].append(cell.name)
    listed = {
        statement: ", ".join(f"{column} ({'; '.join(names)})" for column, names in of.items())
        for statement, of in cells.items()
    }
    return [f"{statement}: {places}" for statement, places in listed.items()]


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"
