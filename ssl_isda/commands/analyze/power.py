"""How many pairs would see an effect: planned from the paired differences that are there."""

from __future__ import annotations

import statistics

from ssl_isda.commands.analyze.comparison import Comparison
from ssl_isda.results.estimates import LEVEL, MOST_PAIRS, POWER, pairs_needed
from ssl_isda.results.tables import Table, markdown_table


def power_table(comparison: Comparison, effect: float) -> str:
    """A row for each comparison of two pairs or more, as Markdown."""
    lines = [
        f"Pairs that find a true difference of {effect:g} points of test error with a probability of "
        f"{100 * POWER:.0f} %,\nby a two-sided paired t-test at {100 * LEVEL:.0f} % for one "
        "comparison. This supposes that differences of further seeds\nare normal and spread as those "
        "that are there. Detectable: the smallest effect that the present pairs\nfind like that.\n"
    ]
    heads = ["data, method", "pairs now", "spread of differences", "detectable", "pairs needed"]
    rows = []
    for each in comparison.effects:
        differences = [*each.differences.values()]
        if len(differences) < 2:
            rows.append([each.name, str(len(differences)), "", "", ""])
            continue
        std = statistics.stdev(differences)
        needed = pairs_needed(std, effect)
        words = f"more than {MOST_PAIRS:,}" if needed is None else f"{needed:,}"
        rows.append([each.name, str(len(differences)), f"{std:.2f}", each.detectable, words])
    return "\n".join([*lines, markdown_table(Table([heads, *rows]))]) + "\n"
