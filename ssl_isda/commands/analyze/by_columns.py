"""The same comparison as a table in two directions: a setting of ISDA across, everything else down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import printed
from ssl_isda.commands.analyze.comparison import Comparison, Effect, Panel, remarks
from ssl_isda.results.cells import row_name
from ssl_isda.results.estimates import LEVEL
from ssl_isda.results.headlines import judged_by, where_better
from ssl_isda.results.paper import spelled
from ssl_isda.results.run_files import number
from ssl_isda.results.tables import Markup, Table, markdown_table


@dataclass
class _Row:
    """The effects of a method that differ in the setting of the columns alone."""

    plain: str
    effects: dict[object, tuple[Effect, float | None]] = field(default_factory=dict)
    """By the setting's value: the effect and its corrected p."""


def table_by_columns(comparison: Comparison, setting: str) -> str:
    """The comparison as Markdown, a column for each value of ``setting``.

    Raises
    ------
    UsageError
        No two cells with ISDA of one method differ in ``setting``.
    """
    rows = _rows(comparison, setting)
    values = {value for row in rows.values() for value in row.effects}
    if len(values) < 2:
        raise UsageError(
            f"--columns {printed(setting)}: no two cells with ISDA differ in it; "
            f"they differ in {', '.join(_differing(comparison)) or 'nothing'}"
        )
    runs = [run for cell in comparison.cells for run in cell.runs]
    said = judged_by(runs), where_better(runs)
    lines = _lines(rows, setting, sorted(values, key=_place), *said)
    return "\n".join([*lines, *remarks(comparison)]) + "\n"


def _differing(comparison: Comparison) -> list[str]:
    return sorted({name for panel in comparison.panels for name in panel.differing})


def _rows(comparison: Comparison, setting: str) -> dict[str, _Row]:
    rows: dict[str, _Row] = {}
    corrected = iter(comparison.corrected)
    for panel in comparison.panels:
        for effect in panel.effects:
            row = rows.setdefault(_name(panel, effect, setting), _Row(_of_plain(effect)))
            row.effects[effect.isda.settings.get(setting)] = (effect, next(corrected))
    return rows


def _name(panel: Panel, effect: Effect, setting: str) -> str:
    others = [name for name in panel.differing if name != setting]
    row = effect.isda.method, True, panel.told(effect.isda, others)
    return f"{effect.column.name}, {row_name(row)}"


def _of_plain(effect: Effect) -> str:
    found = effect.plain.estimate
    return f"{found.mean:.2f}" if found else "no result"


def _lines(
    rows: Mapping[str, _Row], setting: str, values: list[object], judged: str, better: str
) -> Iterator[str]:
    yield f"Test {judged} in %, and what ISDA changes in it: the mean of the differences paired by seed,"
    yield "on the same labeled images, ± half their 95 % confidence interval (Student's t, not"
    yield f"corrected), in percentage points; {better} where ISDA helps. In brackets the smallest true"
    yield "difference that so many pairs of this spread find with a probability of 80 %; what is smaller"
    yield "than that is not seen, which does not say that it is not there."
    yield f"Bold: p < {LEVEL} by Holm's method for all cells of the table at once. {_pairs(rows)}\n"
    usual = _most(rows)
    heads = ["data, method", "without ISDA", *(f"{setting} {spelled(value)}" for value in values)]
    body = [
        [
            name,
            row.plain,
            *(_cell(row.effects.get(value), usual) for value in values),
        ]
        for name, row in rows.items()
    ]
    yield markdown_table(Table([heads, *body]))


def _most(rows: Mapping[str, _Row]) -> int:
    """The pairs of most cells."""
    counts = [
        e.difference.n for row in rows.values() for e, _ in row.effects.values() if e.difference
    ]
    return max(counts, key=lambda n: (counts.count(n), n), default=0)


def _pairs(rows: Mapping[str, _Row]) -> str:
    return f"{_most(rows)} pairs a cell where no other number is given."


def _cell(given: tuple[Effect, float | None] | None, usual: int) -> object:
    """ "**-1.84 ± 0.51** (0.72)"."""
    if given is None:
        return ""
    effect, p = given
    found = effect.difference
    if found is None:
        return "failed" if effect.isda.of_state("failed") else "no pair"
    text = f"{found.mean:+.2f}"
    if found.interval:
        text += f" ± {(found.interval[1] - found.interval[0]) / 2:.2f}"
    text = f"**{text}**" if p is not None and p < LEVEL else text
    text += f" ({effect.detectable})" if effect.detectable else ""
    return Markup(text if found.n == usual else f"{text}, n = {found.n}")


def _place(value: object) -> tuple[float, str]:
    """Numbers in their order, before words in theirs."""
    size = number(value)
    return (1e300, str(value)) if size is None else (size, "")
