"""How many pairs would see an effect: planned from the paired differences that are there."""

from __future__ import annotations

import statistics

from ssl_isda.commands.analyze.comparison import Comparison
from ssl_isda.results.estimates import (
    LEVEL,
    MOST_PAIRS,
    POWER,
    interval_of_std,
    pairs_needed,
    pooled_std,
)
from ssl_isda.results.headlines import judged_by
from ssl_isda.results.tables import Table, markdown_table


def power_table(comparison: Comparison, effect: float) -> str:
    """A row for each comparison of two pairs or more, and one for all of them, as Markdown."""
    judged = judged_by([run for cell in comparison.cells for run in cell.runs])
    lines = [
        f"Pairs that find a true difference of {effect:g} points of test {judged} with a probability of "
        f"{100 * POWER:.0f} %,\nby a two-sided paired t-test at {100 * LEVEL:.0f} % for one "
        "comparison. This supposes that differences of further seeds\nare normal and spread as those "
        "that are there. In brackets: the 95 % interval of that spread, which few\npairs hardly tell, "
        "and what it means for the number of pairs. Detectable: the smallest effect that\nthe present "
        "pairs find like that.\n"
    ]
    heads = ["data, method", "pairs now", "spread of differences", "detectable", "pairs needed"]
    rows, groups = [], []
    for each in comparison.effects:
        differences = [*each.differences.values()]
        if len(differences) < 2:
            rows.append([each.name, str(len(differences)), "", "", ""])
            continue
        groups.append(differences)
        spread, needed = _plan(statistics.stdev(differences), len(differences) - 1, effect)
        rows.append([each.name, str(len(differences)), spread, each.detectable, needed])
    if len(groups) > 1:
        std = pooled_std(groups)
        rows.append(
            ["all rows, pooled", "", f"{std:.2f}", "", _in_words(pairs_needed(std, effect))]
        )
    return "\n".join([*lines, markdown_table(Table([heads, *rows]))]) + "\n"


def _plan(std: float, degrees_of_freedom: int, effect: float) -> tuple[str, str]:
    """The spread and the pairs that it asks for, each with its interval."""
    low, high = interval_of_std(std, degrees_of_freedom)
    needed, fewest, most = (_in_words(pairs_needed(each, effect)) for each in (std, low, high))
    return f"{std:.2f} [{low:.2f}, {high:.2f}]", f"{needed} [{fewest}, {most}]"


def _in_words(pairs: int | None) -> str:
    return f"more than {MOST_PAIRS:,}" if pairs is None else f"{pairs:,}"
