"""What ISDA changes: every cell with it against the same method without it, seed by seed.

One table serves Table 6, the sensitivity of Fig. 11, the ablation of Table 8 and the sampled
augmentation of Fig. 10: what varies there is a setting of ISDA, and the runs themselves say which.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ssl_isda.results.cells import (
    Cell,
    Column,
    cells_of,
    comparisons_of,
    row_name,
    row_order,
    seeds_name,
    settings_that_differ,
)
from ssl_isda.results.columns import odd_ones
from ssl_isda.results.estimates import (
    PairedDifference,
    holm,
    p_in_words,
    paired_difference,
    paired_p,
)
from ssl_isda.results.headlines import judged_by, where_better
from ssl_isda.results.pairs import detectable_in_words, paired_errors
from ssl_isda.results.paper import spelled
from ssl_isda.results.run_files import number
from ssl_isda.results.run_settings import default
from ssl_isda.results.runs import Run
from ssl_isda.results.tables import Markup, Table, markdown, markdown_table

FEWEST_FOR_ONE_APART = 4
"""Cells of a panel: where one of them has another number than the default, it alone is named by it."""
DETECTABLE = (
    "Detectable: the smallest true\n"
    "difference that so many pairs of this spread find with a probability of 80 %; what is smaller\n"
    "than that is not seen, which does not say that it is not there."
)

LOSSES = (
    " Training loss: that of the\n"
    "labeled images in the last epoch, the mean over the seeds; with ISDA the bound of Prop. 1, never\n"
    "below the same network's cross-entropy."
)


@dataclass(frozen=True)
class Effect:
    """One cell with ISDA beside the cell that differs from it in nothing else."""

    plain: Cell
    isda: Cell
    told: str = ""
    """The settings that tell it from others of its method, in words."""

    @property
    def name(self) -> str:
        return f"{self.column.name}, {row_name((self.isda.method, True, self.told))}"

    @property
    def column(self) -> Column:
        return self.isda.column

    @cached_property
    def differences(self) -> Mapping[int, float]:
        """By seed, as ``paired_errors``."""
        return paired_errors(self.plain, self.isda)

    @cached_property
    def difference(self) -> PairedDifference | None:
        return paired_difference([*self.differences.values()])

    @cached_property
    def p(self) -> float | None:
        """Of Student's paired t-test."""
        return paired_p([*self.differences.values()])

    @property
    def detectable(self) -> str:
        """The smallest effect that the pairs could have seen, in points; empty for fewer than two."""
        return detectable_in_words(self.difference)

    @property
    def precisions(self) -> Mapping[tuple[str, str], list[int]]:
        """Of the pairs whose two runs are known to differ in it: the seeds by precision."""
        plain = {run.seed: run.precision for run in self.plain.finished}
        seeds: dict[tuple[str, str], list[int]] = defaultdict(list)
        for run in self.isda.finished:
            both = plain.get(run.seed, ""), run.precision
            if run.seed in self.differences and all(both) and both[0] != both[1]:
                seeds[both].append(run.seed)
        return seeds

    @property
    def unpaired(self) -> list[int]:
        """Seeds that are finished on one side only, or on other labeled images."""
        finished = {run.seed for cell in (self.plain, self.isda) for run in cell.finished}
        return sorted(finished - set(self.differences))


@dataclass(frozen=True)
class Panel:
    """One method on one data set: its plain cell and all cells with ISDA, ordered by their settings."""

    plain: Cell
    effects: tuple[Effect, ...]
    differing: tuple[str, ...]
    """The settings that tell its cells with ISDA from each other."""

    variant: str = ""
    """What tells its plain cell from that of another panel of the method, in words."""

    @property
    def title(self) -> str:
        return f"{self.plain.column.name}: {self.plain.name}"

    @property
    def cells(self) -> list[Cell]:
        """Those with ISDA."""
        return [effect.isda for effect in self.effects]

    def told(self, cell: Cell, names: Sequence[str]) -> str:
        """Some settings of one of its cells in words, and its own."""
        return ", ".join(filter(None, (self.variant, told(cell, names, self.cells))))


class Comparison:
    """Everything that a table or a figure of it says."""

    difference = "with ISDA minus without"
    """What the differences are."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.cells = cells_of(runs)
        self.strays = [run for run in runs if not run.settings]
        self.odd_ones = odd_ones(runs)
        """What was made on other images than the rest, and is in no pair with it."""
        self.panels = self._made_panels()

    def _made_panels(self) -> list[Panel]:
        return _panels([Effect(pair.plain, pair.isda) for pair in comparisons_of(self.cells)])

    @property
    def effects(self) -> list[Effect]:
        return [effect for panel in self.panels for effect in panel.effects]

    @property
    def left_out(self) -> list[str]:
        """What is in no number of the table, and why."""
        problems = [problem for cell in self.cells for problem in _problems(cell)]
        problems += [_problem(run) for run in self.strays]
        compared = {id(cell) for effect in self.effects for cell in (effect.plain, effect.isda)}
        alone = [cell for cell in self.cells if id(cell) not in compared]
        problems += [
            f"{cell.full_name}: no cell {self._missing_beside(cell)} beside it" for cell in alone
        ]
        problems += [
            f"{effect.name}: {seeds_name(effect.unpaired)} in no pair"
            for effect in self.effects
            if effect.unpaired
        ]
        return problems

    @property
    def doubtful(self) -> list[str]:
        """Pairs that are counted, though their runs were computed in different precisions."""
        return [
            f"{effect.name}: {seeds_name(seeds)} in {second}, the other side in {first}"
            for effect in self.effects
            for (first, second), seeds in effect.precisions.items()
        ]

    @property
    def corrected(self) -> list[float | None]:
        """p of each effect, by Holm's method for all of them."""
        return holm([effect.p for effect in self.effects])

    def _missing_beside(self, cell: Cell) -> str:
        return "without ISDA" if cell.isda else "with ISDA"

    def table(self, with_losses: bool = False) -> str:
        """The whole comparison as Markdown; ``with_losses`` adds how far each cell was trained."""
        return "\n".join([*_lines(self, with_losses), *remarks(self)]) + "\n"

    def json(self) -> str:
        """The same numbers for a program, each seed's difference among them."""
        effects = [(effect, panel.differing) for panel in self.panels for effect in panel.effects]
        rows = [
            {**_numbers(effect, differing), "p": effect.p, "p_holm": corrected}
            for (effect, differing), corrected in zip(effects, self.corrected, strict=True)
        ]
        return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def _problems(cell: Cell) -> Iterator[str]:
    """A line for each state; of several runs the first says why."""
    for state in ("unfinished", "failed", "damaged", "repeated"):
        if runs := cell.of_state(state):
            others = seeds_name(run.seed for run in runs[1:])
            yield _problem(runs[0]) + (f"; {state} like it: {others}" if runs[1:] else "")


def _problem(run: Run) -> str:
    return f"{run.path}: {run.state}{': ' * bool(run.problem)}{run.problem}"


def _lines(comparison: Comparison, with_losses: bool) -> Iterator[str]:
    runs = [run for cell in comparison.cells for run in cell.runs]
    judged, better = judged_by(runs), where_better(runs)
    yield f"Test {judged} in %, the mean of the last epochs: mean ± standard deviation of n seeds. The"
    yield "difference is paired by seed, on the same labeled images: with ISDA minus without, in"
    yield "percentage points, its mean and in brackets the 95 % confidence interval of Student's t;"
    yield f"{better} where ISDA helps. One pair has no interval. Intervals are not corrected for the"
    yield "number of rows; Holm: p of Student's paired t-test, from three pairs on, that holds for all"
    yield f"rows at once. {DETECTABLE}{LOSSES * with_losses}\n"
    heads = ["data, method", "without ISDA", "with ISDA", "difference [95 %]", "detectable", "Holm"]
    rows = [
        [
            effect.name,
            *(cell.estimate or "no result" for cell in (effect.plain, effect.isda)),
            effect.difference or "no pair",
            effect.detectable,
            Markup(p_in_words(p)),
            *([f"{effect.plain.loss_in_words}, {effect.isda.loss_in_words}"] * with_losses),
        ]
        for effect, p in zip(comparison.effects, comparison.corrected, strict=True)
    ]
    yield markdown_table(Table([[*heads, *["training loss without, with"] * with_losses], *rows]))


def remarks(comparison: Comparison) -> Iterator[str]:
    """What stands below the table."""
    if comparison.odd_ones:
        yield "\nKept apart from the rest:\n"
        yield from (f"- {markdown(line)}" for line in comparison.odd_ones)
    if comparison.left_out:
        yield "\nNot counted:\n"
        yield from (f"- {markdown(problem)}" for problem in comparison.left_out)
    if comparison.doubtful:
        yield "\nCounted, though the two runs of a pair were computed in different precisions:\n"
        yield from (f"- {markdown(doubt)}" for doubt in comparison.doubtful)


def _numbers(effect: Effect, differing: Sequence[str]) -> dict[str, object]:
    found = effect.difference
    return {
        "data": effect.column.dataset_name,
        "labels": effect.column.labels,
        "method": effect.isda.method,
        "settings": {name: effect.isda.settings.get(name) for name in differing},
        "plain": {str(run.seed): run.error for run in effect.plain.finished},
        "isda": {str(run.seed): run.error for run in effect.isda.finished},
        "differences": {str(seed): gap for seed, gap in effect.differences.items()},
        "mean": found.mean if found else None,
        "interval": found.interval if found else None,
        "n": found.n if found else 0,
        "detectable": found.detectable if found else None,
    }


def _panels(effects: Sequence[Effect]) -> list[Panel]:
    grouped: dict[int, list[Effect]] = defaultdict(list)
    for effect in effects:
        grouped[id(effect.plain)].append(effect)
    groups = [*grouped.values()]
    places = [(group[0].column, group[0].isda.method) for group in groups]
    panels = [
        _panel(group, places.count(place) > 1) for group, place in zip(groups, places, strict=True)
    ]
    return sorted(panels, key=lambda p: (p.plain.column.order, row_order(p.plain.row)))


def _panel(effects: Sequence[Effect], has_rivals: bool) -> Panel:
    """Ordered by the settings that differ: numbers in their order, before words in theirs."""
    names = settings_that_differ([effect.isda for effect in effects])

    def place(effect: Effect) -> list[tuple[float, str]]:
        values = [effect.isda.settings.get(name) for name in names]
        return [(size, "") if (size := number(v)) is not None else (1e300, str(v)) for v in values]

    plain = effects[0].plain
    variant = plain.variant if has_rivals else ""
    panel = Panel(plain, tuple(sorted(effects, key=place)), tuple(names), variant)
    named = [replace(e, told=panel.told(e.isda, names)) for e in panel.effects]
    return replace(panel, effects=tuple(named))


def told(cell: Cell, names: Sequence[str], beside: Sequence[Cell]) -> str:
    """Settings of a cell in words: what is set and not the default, and those numbers that vary among
    ``beside``, the cells of its panel."""
    return ", ".join(
        f"{name} {spelled(value)}"
        for name, value in ((name, cell.settings.get(name)) for name in names)
        if value not in (None, default(name))
        or (number(value) is not None and _varies(name, beside))
    )


def _varies(name: str, cells: Sequence[Cell]) -> bool:
    """Whether a setting does more than set one of many cells apart from all others."""
    departing = [cell for cell in cells if cell.settings.get(name) != default(name)]
    return len(departing) > 1 or len(cells) < FEWEST_FOR_ONE_APART
