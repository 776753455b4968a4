"""Every cell against a baseline that differs from it in named settings alone, seed by seed: Table 5."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import nearest, shown
from ssl_isda.commands.analyze.comparison import (
    DETECTABLE,
    LOSSES,
    Comparison,
    Effect,
    Panel,
    remarks,
)
from ssl_isda.results.cells import Cell, settings_that_differ
from ssl_isda.results.estimates import holm, p_in_words
from ssl_isda.results.headlines import judged_by, where_better
from ssl_isda.results.paper import spelled
from ssl_isda.results.run_settings import ISDA_SETTINGS, NOT_OF_THE_EXPERIMENT
from ssl_isda.results.runs import Run
from ssl_isda.results.tables import Markup, Table, markdown_table
from ssl_isda.settings.components import Components, read_components
from ssl_isda.settings.config import RUN_SETTINGS
from ssl_isda.settings.flags import from_text
from ssl_isda.settings.yaml_files import PARTS

Baseline = Mapping[str, object]


def baseline_of(words: Sequence[str]) -> Baseline:
    """Settings that are given as NAME=VALUE.

    Raises
    ------
    UsageError
        There is no such setting, or it does not take this value.
    """
    options = {option.name: option for _, _, option in read_components().options()}
    known = {**options, **RUN_SETTINGS}
    baseline: dict[str, object] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.replace("-", "_")
        if not equals or not text:
            raise UsageError(f"--baseline takes NAME=VALUE, such as isda=false, got {shown(word)}")
        if name not in known:
            raise UsageError(f"--baseline: unknown setting {shown(name)}{nearest(name, known)}")
        if name in NOT_OF_THE_EXPERIMENT:
            raise UsageError(
                f"--baseline: {name} is no part of an experiment, so rows never differ in it; got "
                f"{shown(word)}"
            )
        baseline[name] = known[name].check(from_text(known[name], text, f"--baseline {name}"))
    return baseline


@dataclass(frozen=True)
class Rival(Effect):
    """A cell beside its baseline; ``isda`` is the cell, whatever it has that the baseline lacks."""

    @property
    def name(self) -> str:
        return f"{self.column.name}, {self.told}"


class Against(Comparison):
    """The cells beside their baselines."""

    def __init__(self, runs: Sequence[Run], baseline: Baseline) -> None:
        self.baseline = baseline
        self.difference = f"minus {spelled_out(baseline)}"
        super().__init__(runs)

    def _made_panels(self) -> list[Panel]:
        components = read_components()
        left_out = _that_may_differ(self.baseline, components)
        methods_differ = "method" in self.baseline
        of_views = _options(components, ["policy"]) - left_out if methods_differ else frozenset()
        rivals: dict[object, list[Cell]] = defaultdict(list)
        for cell in self.cells:
            rivals[_rest(cell, left_out | of_views)].append(cell)
        panels = []
        for cells in rivals.values():
            base = next((cell for cell in cells if self._is_baseline(cell)), None)
            others = [c for c in cells if base and c is not base and _agree(base, c, of_views)]
            if base and others:
                named = zip(others, self._names(base, others), strict=True)
                panels.append(Panel(base, tuple(Rival(base, c, name) for c, name in named), ()))
        return panels

    def _is_baseline(self, cell: Cell) -> bool:
        return all(cell.settings.get(name) == value for name, value in self.baseline.items())

    def _names(self, base: Cell, cells: Sequence[Cell]) -> list[str]:
        """In what each differs from the baseline: of what is named, or else of its options; and where
        that is the same for two, in what they differ."""
        names = [
            _words(cell, [n for n, v in self.baseline.items() if _told_apart(cell, n, v)])
            or _words(cell, settings_that_differ([base, cell]))
            for cell in cells
        ]
        for name in {name for name in names if names.count(name) > 1}:
            places = [place for place, each in enumerate(names) if each == name]
            differing = settings_that_differ([cells[place] for place in places])
            for place in places:
                names[place] += f" ({_words(cells[place], differing)})"
        return names

    def _missing_beside(self, cell: Cell) -> str:
        return f"with {spelled_out(self.baseline)}"

    def table(self, with_losses: bool = False) -> str:
        return "\n".join([*self._lines(with_losses), *remarks(self)]) + "\n"

    def _lines(self, with_losses: bool) -> Iterator[str]:
        runs = [run for cell in self.cells for run in cell.runs]
        yield (
            f"Test {judged_by(runs)} in %, the mean of the last epochs: mean ± standard deviation of n "
            "seeds. The"
        )
        yield "difference is paired by seed, on the same labeled images: the row minus the baseline,"
        yield f"{spelled_out(self.baseline)}, in percentage points, its mean and in brackets the"
        yield (
            "95 % confidence interval of Student's t, not corrected; "
            f"{where_better(runs)} where the row is better."
        )
        yield "p: Student's paired t-test, from three pairs on; Holm: the p that holds for all rows of a"
        yield f"baseline at once. {DETECTABLE}{LOSSES * with_losses}"
        for panel in self.panels:
            heads = [
                panel.plain.column.name,
                f"test {judged_by(runs)}",
                "difference [95 %]",
                "detectable",
                "p",
                "Holm",
                *["training loss"] * with_losses,
            ]
            base = [spelled_out(self.baseline), panel.plain.in_words, "", "", "", ""]
            base += [panel.plain.loss_in_words] * with_losses
            yield "\n" + markdown_table(Table([heads, base, *_rows(panel, with_losses)]))

    def json(self) -> str:
        rows = [_numbers(effect, p) for panel in self.panels for effect, p in _with_holm(panel)]
        return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def _told_apart(cell: Cell, name: str, value: object) -> bool:
    """Whether it has another value, and one that means something: settings of ISDA do with ISDA."""
    return cell.settings.get(name) != value and (cell.isda or name not in ISDA_SETTINGS)


def _with_holm(panel: Panel) -> Iterator[tuple[Effect, float | None]]:
    yield from zip(panel.effects, holm([effect.p for effect in panel.effects]), strict=True)


def _rows(panel: Panel, with_losses: bool) -> Iterator[list[str]]:
    for effect, adjusted in _with_holm(panel):
        ps = [Markup(p_in_words(p)) for p in (effect.p, adjusted)]
        yield [
            effect.told,
            effect.isda.in_words,
            str(effect.difference or "no pair"),
            effect.detectable,
            *ps,
            *[effect.isda.loss_in_words] * with_losses,
        ]


def _numbers(effect: Effect, adjusted: float | None) -> dict[str, object]:
    found = effect.difference
    return {
        "data": effect.column.dataset_name,
        "labels": effect.column.labels,
        "row": effect.told,
        "baseline": {str(run.seed): run.error for run in effect.plain.finished},
        "errors": {str(run.seed): run.error for run in effect.isda.finished},
        "differences": {str(seed): gap for seed, gap in effect.differences.items()},
        "mean": found.mean if found else None,
        "interval": found.interval if found else None,
        "n": found.n if found else 0,
        "detectable": found.detectable if found else None,
        "p": effect.p,
        "p_holm": adjusted,
    }


def _that_may_differ(baseline: Baseline, components: Components) -> frozenset[str]:
    """The settings that are named, and the options of the parts that they choose."""
    options = _options(components, baseline.keys() & PARTS.keys())
    return frozenset({*baseline, *options, *(ISDA_SETTINGS if "isda" in baseline else ())})


def _options(components: Components, kinds: Iterable[str]) -> frozenset[str]:
    """Of all parts of these kinds."""
    return frozenset(
        name for kind in kinds for part in components.parts[kind].values() for name in part
    )


def _agree(base: Cell, cell: Cell, names: frozenset[str]) -> bool:
    """Whether settings that both have are the same: one method has a view that another lacks, and with
    it the view's options."""
    both = names & base.settings.keys() & cell.settings.keys()
    return all(repr(base.settings[name]) == repr(cell.settings[name]) for name in both)


def _rest(cell: Cell, left_out: frozenset[str]) -> object:
    """What a cell and its baseline share."""
    off = frozenset() if cell.isda else ISDA_SETTINGS
    kept = {
        name: repr(value)
        for name, value in cell.settings.items()
        if name not in left_out | off | NOT_OF_THE_EXPERIMENT
    }
    return cell.column, tuple(sorted(kept.items()))


def _words(cell: Cell, names: Sequence[str]) -> str:
    return spelled_out({name: cell.settings.get(name) for name in names})


def spelled_out(settings: Mapping[str, object]) -> str:
    """ "loss focal, dropout 0.3"."""
    return ", ".join(f"{name} {spelled(value)}" for name, value in settings.items())
