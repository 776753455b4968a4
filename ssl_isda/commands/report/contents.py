"""What a report says, before it is put into any form."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ssl_isda.results.cells import (
    Cell,
    Column,
    Comparison,
    Row,
    cells_of,
    comparisons_of,
    papers_value,
    row_order,
    seeds_name,
)
from ssl_isda.results.curves import images_per_second, training_seconds
from ssl_isda.results.estimates import Estimate, estimate
from ssl_isda.results.run_files import number, words
from ssl_isda.results.runs import Run

SHORT = 12
"""Hexadecimal digits of a checksum that are shown to people."""


@dataclass(frozen=True)
class Entry:
    """One place of the table; ``cell`` is None where there is no run."""

    column: Column
    row: Row
    cell: Cell | None

    @property
    def ours(self) -> str:
        if self.cell is None:
            return "no run"
        return str(self.cell.estimate or "no result")

    @property
    def papers(self) -> Estimate | None:
        return papers_value(self.column, self.row)

    @property
    def difference(self) -> str:
        """With its sign, in percentage points; empty without a value of the paper."""
        if self.cell is None or self.cell.difference is None:
            return ""
        return f"{self.cell.difference:+.2f}"

    @property
    def remarks(self) -> list[str]:
        return self.cell.remarks if self.cell else []

    @property
    def is_paper_recipe(self) -> bool:
        return self.cell is not None and not self.cell.deviations


@dataclass(frozen=True)
class Speed:
    """Time and images/s of one cell, over its finished runs."""

    cell: Cell
    seconds: Estimate | None
    images_per_second: Estimate | None
    machine: str
    """Device, threads and precision."""


class Report:
    """Everything that the runs tell."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.cells = cells_of(runs)
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

    @cached_property
    def entries(self) -> dict[tuple[Row, Column], Entry]:
        """Every row in every column."""
        cells = {(cell.row, cell.column): cell for cell in self.cells}
        return {
            (row, column): Entry(column, row, cells.get((row, column)))
            for row in self.rows
            for column in self.columns
        }

    def in_row(self, row: Row) -> list[Entry]:
        return [self.entries[row, column] for column in self.columns]

    @cached_property
    def comparisons(self) -> list[Comparison]:
        return comparisons_of(self.cells)

    @property
    def has_papers_values(self) -> bool:
        """Whether anything in the table can be compared."""
        return any(entry.papers for entry in self.entries.values())

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
                ("; ".join(map(str, cell.deviations)), cell)
                for cell in self.cells
                if cell.deviations
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
            for what, fact in (("commits", commit), ("versions of torch", torch_version)):
                if len(set(filter(None, map(fact, cell.finished)))) > 1:
                    yield f"runs of different {what}", cell
            if any(commit(run).endswith("-dirty") for run in cell.finished):
                yield "made with files that differ from the commit", cell
            digests = [run.split.digest for run in cell.finished if run.split]
            if len(digests) > 1 and len(set(digests)) == 1:
                yield "all seeds have the same labeled images", cell
            if len({run.result.get("averaged_epochs") for run in cell.finished}) > 1:
                yield "errors that average different numbers of epochs", cell

    def _doubts_of_columns(self) -> Iterator[str]:
        for column in self.columns:
            runs = [run for cell in self.cells_in(column) for run in cell.finished]
            if len({run.split.checksum for run in runs if run.split}) > 1:
                yield f"runs on different data (their checksums differ): {column.name}"


def speed_of(cell: Cell) -> Speed:
    """Time and images/s of a cell."""
    seconds = [training_seconds(run) for run in cell.finished]
    rates = [images_per_second(run) for run in cell.finished]
    return Speed(
        cell,
        estimate([value for value in seconds if value is not None]),
        estimate([value for value in rates if value is not None]),
        "; ".join(sorted({machine(run) for run in cell.finished} - {""})),
    )


def by_value(runs: Sequence[Run], fact: Callable[[Run], str]) -> list[str]:
    """Each value of ``fact`` once, with the seeds that have it where there are several."""
    seeds: dict[str, list[int]] = defaultdict(list)
    for run in runs:
        if value := fact(run):
            seeds[value].append(run.seed)
    if len(seeds) == 1:
        return list(seeds)
    return [f"{value} (seed {', '.join(map(str, have))})" for value, have in seeds.items()]


def commit(run: Run) -> str:
    return str(run.result.get("commit") or "")


def command(run: Run) -> str:
    return words(run.result.get("command"))


def versions(run: Run) -> str:
    """ "ssl_isda 0.1.0, torch 2.6.0, python 3.11.7"."""
    return ", ".join(f"{name} {version}" for name, version in _versions(run).items())


def torch_version(run: Run) -> str:
    return str(_versions(run).get("torch", ""))


def _versions(run: Run) -> dict[str, object]:
    known = run.result.get("versions")
    return known if isinstance(known, dict) else {}


def machine(run: Run) -> str:
    """ "x86_64, 1 thread, bf16"."""
    threads = number(run.result.get("threads"))
    counted = "" if threads is None else f"{threads:g} thread{'s' * (threads != 1)}"
    parts = (str(run.result.get("device", "")), counted, str(run.result.get("precision", "")))
    return ", ".join(part for part in parts if part)


FACTS: Mapping[str, Callable[[Run], str]] = {
    "commit": commit,
    "versions": versions,
    "machine": machine,
    "command": command,
}
"""What a run was made with, by name."""


def last_error(run: Run) -> float | None:
    """The test error of the last epoch, in percent."""
    return run.epochs[-1].get("test_error") if run.epochs else None


def selected_error(run: Run) -> float | None:
    """The test error of the epoch that was best on the validation images, where there were some."""
    return number(run.result.get("selected_error"))


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
