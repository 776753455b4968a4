"""Tables of results, and how they are written: Markdown, LaTeX and CSV.

Texts are plain and become harmless on their way into a format; ``Markup`` is in the format already.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass


class Markup(str):
    """Text that is written as it stands."""

    __slots__ = ()


@dataclass(frozen=True)
class Table:
    """Rows of equal length; the first ``num_heads`` of them are the head."""

    rows: Sequence[Sequence[object]]
    num_heads: int = 1


def markdown_table(table: Table) -> str:
    """The lines of a Markdown table with one head."""
    head, *rows = (_texts(row, markdown) for row in table.rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def latex_table(table: Table) -> str:
    r"""A ``tabular`` for ``\input``, which needs no package."""
    lines = [" & ".join(_texts(row, latex)) + r" \\" for row in table.rows]
    heads, rows = lines[: table.num_heads], lines[table.num_heads :]
    begin = rf"\begin{{tabular}}{{l{'c' * (len(table.rows[0]) - 1)}}}"
    rule = r"\hline"
    return "\n".join([begin, rule, *heads, rule, *rows, rule, r"\end{tabular}"])


def csv_table(table: Table) -> str:
    """Comma-separated values; None is an empty field."""
    text = io.StringIO()
    rows = [[harmless(value) for value in row] for row in table.rows]
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _texts(row: Sequence[object], escape: Callable[[str], str]) -> list[str]:
    return [str(cell) if isinstance(cell, Markup) else escape(str(cell)) for cell in row]


_MARKDOWN = re.compile(r"([\\`*_{}\[\]|~$])")
_LATEX = {
    **{letter: rf"\{letter}" for letter in "{}$&#%_"},
    **{letter: f"${letter}$" for letter in "<>|"},
    **{letter: f"{{{letter}}}" for letter in "[*"},  # after a line break they have a meaning
    **{letter: rf"\{letter}{{}}" for letter in "^~"},
    **dict(zip("\\Π±λ", (r"\textbackslash{}", r"$\Pi$", r"$\pm$", r"$\lambda$"), strict=True)),
    '"': "''",
}


def markdown(text: str) -> str:
    """``text`` as Markdown that shows it as it stands, on one line, in a table too."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", text)


def latex(text: str) -> str:
    """``text`` as LaTeX that shows it; letters that pdfTeX does not know lose their accents, or go."""
    known = "".join(_LATEX.get(letter) or _plain(letter) for letter in text)
    return " ".join(known.split())


def _plain(letter: str) -> str:
    if letter.isspace():
        return " "
    kept = [part for part in unicodedata.normalize("NFKD", letter) if " " <= part <= "~"]
    return "".join(_LATEX.get(part, part) for part in kept) or "?"


def harmless(value: object) -> object:
    """Text that a spreadsheet would take for a formula gets an apostrophe in front."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return value
