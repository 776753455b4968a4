"""Predictions as CSV for programs and spreadsheets, and as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from ssl_isda.base.words import printed
from ssl_isda.commands.predict.judged import Judged
from ssl_isda.results.tables import Table, csv_table

HEAD = ("file", "class", "probability", "second_class", "margin")
MOST_ON_A_TERMINAL = 40


def csv_of(judged: Judged, unsure: float | None) -> str:
    """A header and a line for each input; no cell is taken for a formula."""
    return csv_table(Table([_head(unsure), *_rows(judged, unsure, len(judged.names))]))


def text_of(judged: Judged, unsure: float | None) -> str:
    """The first lines in columns, and how many more there are."""
    rows = list(_rows(judged, unsure, MOST_ON_A_TERMINAL))
    cells = [_head(unsure), *([printed(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    more = len(judged.names) - len(rows)
    if more:
        lines.append(f"... and {more:,} more; --out predictions.csv writes them all")
    return "\n".join(lines)


def _head(unsure: float | None) -> list[str]:
    return [*HEAD, *(["unsure"] if unsure is not None else [])]


def _rows(judged: Judged, unsure: float | None, most: int) -> Iterator[list[str]]:
    names = judged.class_names
    for place, name in enumerate(judged.names[:most]):
        probability = judged.probability[place]
        first, second = names[judged.first[place]], names[judged.second[place]]
        row = [name, first, f"{probability:.6f}", second, f"{judged.margin[place]:.6f}"]
        yield row if unsure is None else [*row, "yes" if probability < unsure else "no"]
