"""The report as Markdown: its tables; the figures are in the page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ssl_isda.base.progress import duration
from ssl_isda.commands.report.contents import (
    SHORT,
    Report,
    by_value,
    command,
    commit,
    last_error,
    machine,
    speed_of,
    versions,
)
from ssl_isda.results.cells import row_name
from ssl_isda.results.runs import Run

_SPECIAL = re.compile(r"([\\`*_{}\[\]|~$])")


def markdown_page(report: Report) -> str:
    """The whole text; everything that comes from a run is escaped."""
    return "\n".join(_lines(report)) + "\n"


def escaped(text: str) -> str:
    """``text`` as Markdown that shows it as it stands, on one line, in a table too."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", text)


def _lines(report: Report) -> Iterator[str]:
    yield "# Report on training runs"
    yield f"\n{escaped(report.summary)}. Figures: [report.html](report.html)."
    yield "\n## Test error\n"
    yield "In %, mean ± standard deviation (n - 1) of n seeds, each the mean of its last epochs."
    if report.has_papers_values:
        yield "In brackets: the paper's Table 6 (five runs), and ours minus the paper's."
    if report.has_deviations:
        yield "⚠ marks settings that are not the paper's."
    yield ""
    yield from _results(report)
    if report.comparisons:
        yield "\n## With and without ISDA\n"
        yield "Welch's t-test, two-sided, not corrected for the number of tests.\n"
        yield from _comparisons(report)
    if report.cautions:
        yield "\n## Before you use a number"
    for kind, cases in report.cautions.items():
        yield f"\n{escaped(kind)}:\n"
        yield from (f"- {escaped(case)}" for case in cases)
    yield "\n## Time\n"
    yield from _times(report)
    yield "\n## Where each number comes from"
    yield from _sources(report)


def _results(report: Report) -> Iterator[str]:
    yield from table_head(["method", *(column.name for column in report.columns)])
    for row in report.rows:
        texts = []
        for column in report.columns:
            entry = report.entries[row, column]
            parts = [escaped(entry.ours)]
            if entry.papers:
                mark = "" if entry.is_paper_recipe or not entry.cell else "⚠ "
                gap = f"; {escaped(entry.difference)}" if entry.difference else ""
                parts.append(f"({mark}paper {entry.papers.mean:.2f} ± {entry.papers.std:.2f}{gap})")
            parts += [f"*{escaped(remark)}*" for remark in entry.remarks]
            texts.append("<br>".join(parts))
        yield table_row([escaped(row_name(row)), *texts])


def _comparisons(report: Report) -> Iterator[str]:
    yield from table_head(["data, method", "without ISDA", "with ISDA", "difference", "test"])
    for pair in report.comparisons:
        gap = "" if pair.difference is None else f"{pair.difference:+.2f}"
        yield table_row(
            [
                escaped(f"{pair.plain.column.name}, {pair.isda.name}"),
                *(escaped(str(cell.estimate or "no result")) for cell in (pair.plain, pair.isda)),
                escaped(gap),
                escaped(pair.verdict),
            ]
        )


def _times(report: Report) -> Iterator[str]:
    yield from table_head(["data, method", "n", "a run", "images/s", "machine"])
    for speed in map(speed_of, report.cells):
        if speed.seconds:
            rate = f"{speed.images_per_second.mean:,.0f}" if speed.images_per_second else ""
            name = f"{speed.cell.column.name}, {speed.cell.name}"
            n, time = str(speed.seconds.n), duration(speed.seconds.mean)
            yield table_row([escaped(name), n, time, rate, escaped(speed.machine)])


def _sources(report: Report) -> Iterator[str]:
    for cell in report.cells:
        yield f"\n### {escaped(cell.column.name)}: {escaped(cell.name)}\n"
        facts = {"commit": commit, "versions": versions, "machine": machine, "command": command}
        for name, fact in facts.items():
            for value in by_value(cell.finished, fact):
                yield f"- {name}: {escaped(value)}"
        yield ""
        yield from table_head(
            ["seed", "state", "error", "last epoch", "labeled", "split", "data", "run"]
        )
        yield from (table_row(_run(run)) for run in cell.runs)
    if report.strays:
        yield "\n### Runs whose settings cannot be read\n"
        yield from (f"- {escaped(run.path)}: {escaped(run.problem)}" for run in report.strays)


def _run(run: Run) -> list[str]:
    last = last_error(run)
    split = run.split
    return [
        str(run.seed),
        escaped(run.state + (f": {run.problem}" if run.problem else "")),
        f"{run.error:.2f}" if run.state == "finished" else "",
        "" if last is None else f"{last:.2f}",
        str(split.num_labeled) if split else "",
        f"seed {split.seed}, {escaped(split.digest[:SHORT])}" if split else "",
        escaped(split.checksum[:SHORT]) if split else "",
        escaped(run.path),
    ]


def table_head(names: Sequence[str]) -> Iterator[str]:
    """The two lines with which a table begins."""
    yield table_row([escaped(name) for name in names])
    yield table_row(["---"] * len(names))


def table_row(texts: Sequence[str]) -> str:
    """One line of a table; the texts are Markdown already."""
    return f"| {' | '.join(texts)} |"
