"""The report's table of test errors as a LaTeX ``tabular``, without any package."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from ssl_isda.commands.report.contents import Entry, Report, Row
from ssl_isda.results.cells import row_name

_COMMANDS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\^{}",
    "~": r"\~{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    '"': "''",
    "[": "{[}",  # after a line break it would begin a length
    "*": "{*}",
    "Π": r"$\Pi$",
    "±": r"$\pm$",
    "λ": r"$\lambda$",
}


def latex_table(report: Report) -> str:
    r"""For ``\input``: each method with our errors, the paper's below, and the difference."""
    return "\n".join(_lines(report)) + "\n"


def escaped(text: str) -> str:
    """``text`` as LaTeX that shows it; letters that pdfTeX does not know lose their accents, or go."""
    known = "".join(_COMMANDS.get(letter) or _plain(letter) for letter in text)
    return " ".join(known.split())


def _plain(letter: str) -> str:
    if letter.isspace():
        return " "
    kept = [part for part in unicodedata.normalize("NFKD", letter) if " " <= part <= "~"]
    return "".join(_COMMANDS.get(part, part) for part in kept) or "?"


def _lines(report: Report) -> Iterator[str]:
    yield "% Test error in %: mean, standard deviation (n - 1) and number n of our runs; below them"
    yield "% Table 6 of the ISDA paper (five runs) and ours minus the paper's, in percentage points."
    for cell in report.cells:
        name = f"{cell.column.name}, {cell.name}"
        if cell.remarks:
            yield f"% {escaped(name)}: {escaped('; '.join(cell.remarks))}"
        if cell.deviations:
            what = "; ".join(map(str, cell.deviations))
            yield f"% {escaped(name)}: not the paper's recipe: {escaped(what)}"
    yield rf"\begin{{tabular}}{{l{'c' * len(report.columns)}}}"
    yield r"\hline"
    yield _row("Data set", *(escaped(column.dataset_name) for column in report.columns))
    yield _row("Labels", *(escaped(column.labels_name) for column in report.columns))
    yield r"\hline"
    for row in report.rows:
        yield from _method(report, row)
    yield r"\hline"
    yield r"\end{tabular}"


def _method(report: Report, row: Row) -> Iterator[str]:
    entries = [report.entries[row, column] for column in report.columns]
    yield _row(escaped(row_name(row)), *(escaped(entry.ours) for entry in entries))
    if any(entry.papers for entry in entries):
        yield _row(r"\quad paper", *map(_papers, entries))
    if any(entry.difference for entry in entries):
        yield _row(r"\quad difference", *(_signed(entry.difference) for entry in entries))


def _papers(entry: Entry) -> str:
    return rf"{entry.papers.mean:.2f} $\pm$ {entry.papers.std:.2f}" if entry.papers else "--"


def _signed(difference: str) -> str:
    return f"${difference}$" if difference else "--"


def _row(*texts: str) -> str:
    return " & ".join(texts) + r" \\"
