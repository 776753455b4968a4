"""Runs that differ in nothing but their seed form a cell; cells form the rows and columns of Table 6."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ssl_isda.results import paper
from ssl_isda.results.columns import Column as Column
from ssl_isda.results.columns import columns_of
from ssl_isda.results.estimates import Estimate, Welch, estimate, welch
from ssl_isda.results.literature import protocols, published_for
from ssl_isda.results.paper import Figure, deviations, figure_of, spelled
from ssl_isda.results.run_settings import ISDA_SETTINGS, NOT_OF_THE_EXPERIMENT
from ssl_isda.results.runs import Run, State

_METHOD_NAMES = {
    "supervised": "Supervised",
    "pi_model": "Π-model",
    "temporal_ensembling": "Temporal ensembling",
    "mean_teacher": "Mean Teacher",
    "vat": "VAT",
    "pseudo_label": "Pseudo-label",
    "uda": "UDA",
    "ict": "ICT",
    "mixmatch": "MixMatch",
    "remixmatch": "ReMixMatch",
    "fixmatch": "FixMatch",
    "flexmatch": "FlexMatch",
    "freematch": "FreeMatch",
    "softmatch": "SoftMatch",
    "adamatch": "AdaMatch",
    "dash": "Dash",
}
"""Of the papers; a method that is not here is shown under the name that --method takes."""
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
Row = tuple[str, bool, str]
"""Method, whether ISDA is on, and the variant."""


@dataclass(frozen=True)
class Cell:
    """All runs of one experiment: the same settings, one seed each; none at an empty place."""

    column: Column
    method: str
    isda: bool
    settings: Mapping[str, object] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()
    """By seed."""
    variant: str = ""
    """The settings that tell it from other cells at its place of the table: "width 0.25"."""
    missing_seeds: tuple[int, ...] = ()
    """Seeds that other cells of its column have."""

    @property
    def row(self) -> Row:
        return self.method, self.isda, self.variant

    @property
    def name(self) -> str:
        return row_name(self.row)

    @property
    def full_name(self) -> str:
        return f"{self.column.name}, {self.name}"

    def of_state(self, state: State) -> list[Run]:
        return [run for run in self.runs if run.state == state]

    @property
    def finished(self) -> list[Run]:
        return self.of_state("finished")

    @property
    def errors(self) -> list[float]:
        return [run.error for run in self.finished]

    @property
    def estimate(self) -> Estimate | None:
        return estimate(self.errors)

    @property
    def best(self) -> Estimate | None:
        """Of the smallest test error of each run, which is chosen on the test images themselves."""
        return estimate([best for run in self.finished if (best := run.best_error) is not None])

    @property
    def _place(self) -> Mapping[str, object]:
        """Its settings, as figures are about them."""
        place = {"dataset": self.column.dataset, "labels": self.column.labels}
        return {**self.settings, **place, "method": self.method, "isda": self.isda}

    @cached_property
    def published(self) -> list[Figure]:
        """What is published of this method, one figure of each protocol; not the paper's own."""
        return [] if self.column.amounts else published_for(self._place)

    @property
    def published_in_words(self) -> Mapping[str, str]:
        """By protocol "5.07 ± 0.65 (n = 5); +0.12", our best errors held against best errors."""
        words = {}
        for figure in self.published:
            best = protocols()[figure.table].best
            ours = self.best if best else self.estimate
            gap = (
                ""
                if ours is None
                else f"; {'our best ' * best}{ours.mean - figure.error.mean:+.2f}"
            )
            words[figure.table] = f"{figure.error}{gap}"
        return words

    @cached_property
    def figure(self) -> Figure | None:
        """What the paper reports for this data set, these labels and this method; of supervised
        training, for this network, loss and augmentation."""
        return None if self.column.amounts else figure_of(self._place)

    @property
    def papers(self) -> Estimate | None:
        return self.figure.error if self.figure else None

    @property
    def papers_in_words(self) -> str:
        """ "Table 2: 7.39 ± 0.10 (n = 3)"; empty where the paper has no such cell."""
        return f"{self.figure.table}: {self.figure.error}" if self.figure else ""

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, in percentage points."""
        ours, papers = self.estimate, self.papers
        return None if ours is None or papers is None else ours.mean - papers.mean

    @property
    def in_words(self) -> str:
        """ "11.00 ± 1.41 (n = 2)"."""
        return str(self.estimate or ("no result" if self.runs else "no run"))

    @property
    def difference_in_words(self) -> str:
        """With its sign; empty without a value of the paper."""
        return "" if self.difference is None else f"{self.difference:+.2f}"

    @property
    def deviations(self) -> list[str]:
        """From the recipe of the paper, or of what else is published, where there is such a cell."""
        beside = [*([self.figure] if self.figure else []), *self.published]
        return deviations(self.settings, beside[0]) if beside and self.runs else []

    @property
    def training_loss(self) -> float | None:
        """The mean of ``Run.last_loss`` over the finished runs."""
        losses = [loss for run in self.finished if (loss := run.last_loss) is not None]
        return sum(losses) / len(losses) if losses else None

    @property
    def loss_in_words(self) -> str:
        loss = self.training_loss
        return "unknown" if loss is None else f"{loss:#.3g}".rstrip(".")

    @property
    def seconds(self) -> Estimate | None:
        """Of a finished run."""
        return estimate([s for run in self.finished if (s := run.seconds) is not None])

    @property
    def images_per_second(self) -> Estimate | None:
        return estimate([r for run in self.finished if (r := run.images_per_second) is not None])

    @property
    def machine(self) -> str:
        """Device, threads and precision."""
        return "; ".join(sorted({run.machine for run in self.finished} - {""}))

    @property
    def remarks(self) -> list[str]:
        """What a reader of its number must know."""
        remarks = ["single seed"] if len(self.errors) == 1 else []
        for state in ("unfinished", "failed", "damaged", "repeated"):
            runs = self.of_state(state)
            remarks += [f"{state}: {seeds_name(run.seed for run in runs)}"] if runs else []
        remarks += [f"missing: {seeds_name(self.missing_seeds)}"] if self.missing_seeds else []
        return remarks


@dataclass(frozen=True)
class Comparison:
    """A method with ISDA against the same without it."""

    plain: Cell
    isda: Cell

    @property
    def difference(self) -> float | None:
        """With minus without, in percentage points: negative where ISDA helps."""
        plain, isda = self.plain.estimate, self.isda.estimate
        return None if plain is None or isda is None else isda.mean - plain.mean

    @property
    def test(self) -> Welch | None:
        return welch(self.isda.errors, self.plain.errors)

    @property
    def verdict(self) -> str:
        """The test in words, or why there is none."""
        if test := self.test:
            p = "p < 0.001" if test.p < 0.001 else f"p = {test.p:.3f}"
            return f"{p} (t = {test.t:.2f}, {test.degrees_of_freedom:.1f} degrees of freedom)"
        if min(len(self.plain.errors), len(self.isda.errors)) < 3:
            return "no test: fewer than 3 finished runs on a side"
        return "no test: all runs of a side are equal"


def cells_of(runs: Sequence[Run]) -> list[Cell]:
    """The cells, in the order of Table 6; runs whose settings cannot be read belong to none.

    Runs on other images are never in one cell, nor in cells of one column.
    """
    columns = columns_of(runs)
    grouped: dict[object, list[Run]] = defaultdict(list)
    for run in runs:
        if run.settings:
            grouped[_identity(run.settings, columns[run.path])].append(run)
    cells = [_cell(columns[group[0].path], group) for group in grouped.values()]
    return _with_missing_seeds(sorted(_with_variants(cells), key=_order))


def comparisons_of(cells: Sequence[Cell]) -> list[Comparison]:
    """Every cell with ISDA beside the one that differs from it in nothing else."""

    def without(cell: Cell) -> object:
        return _identity(cell.settings, cell.column, isda=False)

    plain = {without(cell): cell for cell in cells if not cell.isda}
    pairs = [(plain.get(without(cell)), cell) for cell in cells if cell.isda]
    return [Comparison(alone, cell) for alone, cell in pairs if alone]


def row_name(row: Row) -> str:
    """A row of the table: "VAT + ISDA (width 0.25)"."""
    method, isda, variant = row
    name = _METHOD_NAMES.get(method, method) + (" + ISDA" if isda else "")
    return f"{name} ({variant})" if variant else name


def row_order(row: Row) -> tuple[object, ...]:
    """Supervised, then the paper's methods in its order, then others; of each the networks, losses and
    augmentations in the order of its tables, plain before ISDA, and numbers by their size."""
    known = ("supervised", *paper.METHODS)
    method, isda, variant = row
    words = [word.partition(" ")[::2] for word in variant.split(", ")]
    parts = [value for name, value in words if name in paper.OF_A_NETWORK]
    place = known.index(method) if method in known else len(known)
    sizes = [(name, *_size(value)) for name, value in words]
    return place, method, paper.order_of(parts), parts, isda, sizes


def _size(spelled: str) -> tuple[float, str]:
    """Of "3,000" 3,000; words come after all numbers."""
    digits = spelled.replace(",", "")
    return (float(digits), "") if _NUMBER.fullmatch(digits) else (float("inf"), spelled)


def _order(cell: Cell) -> tuple[object, ...]:
    return *cell.column.order, *row_order(cell.row)


def _identity(settings: Mapping[str, object], column: Column, isda: bool | None = None) -> object:
    """What all seeds of an experiment share; with ``isda=False`` what plain and ISDA share."""
    is_on = settings["isda"] if isda is None else isda
    left_out = NOT_OF_THE_EXPERIMENT | ({"isda"} if is_on else {"isda", *ISDA_SETTINGS})
    kept = {name: _plain(value) for name, value in settings.items() if name not in left_out}
    return column, is_on, tuple(sorted(kept.items()))


def _plain(value: object) -> object:
    """Something that can be compared and hashed."""
    return repr(value) if value is None or isinstance(value, (bool, str, list)) else value


def _cell(column: Column, group: Sequence[Run]) -> Cell:
    """The first finished run of a seed counts, others of that seed do not: they prove nothing new."""
    settings = group[0].settings
    counted: dict[int, str] = {}
    runs = []
    for run in sorted(group, key=lambda run: (run.seed, run.path)):
        if run.state == "finished":
            if run.seed in counted:
                first = counted[run.seed]
                run = replace(run, state="repeated", problem=f"the same experiment as {first}")
            else:
                counted[run.seed] = run.path
        runs.append(run)
    return Cell(column, str(settings["method"]), bool(settings["isda"]), settings, tuple(runs))


def _with_variants(cells: Sequence[Cell]) -> list[Cell]:
    """The network, loss and augmentation are named where a method's cells differ in them, so that a row
    has one name in all columns; other settings where the cells of one place do."""
    telling = {
        method: [name for name in paper.OF_A_NETWORK if len({_part(c, name) for c in group}) > 1]
        for method, group in _grouped(cells, lambda cell: cell.method).items()
    }

    def parts(cell: Cell) -> list[str]:
        return [f"{name} {_part(cell, name)}" for name in telling[cell.method]]

    places = _grouped(cells, lambda cell: (cell.column, cell.method, cell.isda, *parts(cell)))
    named = []
    for rivals in places.values():
        differing = settings_that_differ(rivals)
        taken: set[str] = set()
        for cell in rivals:
            words = parts(cell)
            words += [f"{name} {spelled(cell.settings.get(name))}" for name in differing]
            while (variant := ", ".join(words)) in taken:
                words.append("another")
            taken.add(variant)
            named.append(replace(cell, variant=variant))
    return named


def _part(cell: Cell, name: str) -> object:
    return cell.settings.get(name)


def _grouped(cells: Iterable[Cell], key: Callable[[Cell], object]) -> dict[object, list[Cell]]:
    grouped: dict[object, list[Cell]] = defaultdict(list)
    for cell in cells:
        grouped[key(cell)].append(cell)
    return grouped


def settings_that_differ(cells: Sequence[Cell]) -> list[str]:
    """The settings that are not the same in all of ``cells``, which stand at one place."""
    left_out = NOT_OF_THE_EXPERIMENT | (frozenset() if cells[0].isda else ISDA_SETTINGS)
    names = dict.fromkeys(name for cell in cells for name in cell.settings if name not in left_out)
    return [name for name in names if len({_plain(cell.settings.get(name)) for cell in cells}) > 1]


def _with_missing_seeds(cells: Sequence[Cell]) -> list[Cell]:
    seeds: dict[Column, set[int]] = defaultdict(set)
    for cell in cells:
        seeds[cell.column] |= {run.seed for run in cell.runs}
    missing = [seeds[cell.column] - {run.seed for run in cell.runs} for cell in cells]
    return [
        replace(cell, missing_seeds=tuple(sorted(lacks)))
        for cell, lacks in zip(cells, missing, strict=True)
    ]


def seeds_name(seeds: Iterable[int]) -> str:
    """ "seed 3", or "seeds 3, 4"."""
    listed = sorted(set(seeds))
    return f"seed{'s' * (len(listed) > 1)} {', '.join(map(str, listed))}"
