"""The report as text: Markdown, a LaTeX table of test errors, and a row of results.csv for each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ssl_isda.base.progress import duration
from ssl_isda.commands.report.contents import (
    BESIDE_IN_WORDS,
    FACTS,
    PUBLISHED_IN_WORDS,
    SHORT,
    Report,
    by_value,
    compared_in_words,
)
from ssl_isda.results.cells import Cell, Comparison, row_name
from ssl_isda.results.classes import score_columns, scores_beside, scores_of
from ssl_isda.results.headlines import judged_by
from ssl_isda.results.pairs import detectable_in_words, paired
from ssl_isda.results.run_settings import in_order
from ssl_isda.results.runs import Run
from ssl_isda.results.tables import (
    Markup,
    Table,
    csv_table,
    latex,
    latex_table,
    markdown,
    markdown_table,
)
from ssl_isda.runs.result import SCORES_BESIDE


def markdown_page(report: Report) -> str:
    """The tables of the report; its figures are in the page."""
    return "\n".join(_lines(report)) + "\n"


def latex_page(report: Report) -> str:
    r"""For ``\input``: each method with our errors, the paper's below, and the difference."""
    lines = [
        f"% Test {judged_by(report.runs)} in %: mean, standard deviation (n - 1) and number n of our "
        "runs.",
        *[f"% Below: {report.papers}; ours minus the paper's in percentage points."]
        * bool(report.papers),
        *[f"% {latex(PUBLISHED_IN_WORDS)}"] * bool(report.protocols),
        *[f"% {latex(each)}." for each in report.protocols],
    ]
    for cell in report.cells:
        if cell.remarks:
            lines.append(_comment(cell, "; ".join(cell.remarks)))
        if cell.deviations:
            what = "; ".join(cell.deviations)
            lines.append(_comment(cell, f"not the paper's recipe: {what}"))
    heads = [
        ["Data set", *(column.dataset_name for column in report.columns)],
        ["Labels", *(column.labels_name for column in report.columns)],
    ]
    rows = [row for name in report.rows for row in _latex_rows(report.in_row(name))]
    return "\n".join([*lines, latex_table(Table([*heads, *rows], num_heads=2))]) + "\n"


def results_csv(report: Report) -> str:
    """Errors in percent, times in seconds; empty where a run does not say."""
    rows = [_facts_of(run) for run in report.runs]
    facts = [name for row in rows for name in row]
    names = dict.fromkeys([*facts, *in_order({n for run in report.runs for n in run.settings})])
    values = [{**run.settings, **row} for run, row in zip(report.runs, rows, strict=True)]
    return csv_table(Table([[*names], *([each.get(name) for name in names] for each in values)]))


# ---- Markdown


def _lines(report: Report) -> Iterator[str]:
    yield "# Report on training runs"
    yield f"\n{markdown(report.summary)}. Figures: [report.html](report.html)."
    yield f"\n## Test {judged_by(report.runs)}\n"
    yield "In %, mean ± standard deviation (n - 1) of n seeds, each the mean of its last epochs."
    if report.papers:
        yield f"In brackets: {report.papers}, and ours minus the paper's."
    if report.protocols:
        yield " ".join([PUBLISHED_IN_WORDS, *(f"{markdown(each)}." for each in report.protocols)])
    if report.has_deviations:
        yield "⚠ marks settings that are not the paper's."
    yield ""
    heads = ["method", *(column.name for column in report.columns)]
    rows = [[row_name(row), *map(_entry, report.in_row(row))] for row in report.rows]
    yield markdown_table(Table([heads, *rows]))
    if report.comparisons:
        yield "\n## With and without ISDA\n"
        yield f"{compared_in_words(report.runs)}\n"
        heads = ["data, method", "without ISDA", "with ISDA", "difference"]
        heads += ["by seed [95 %]", "detectable", "test"]
        yield markdown_table(Table([heads, *map(_compared, report.comparisons)]))
    yield from _beside(report)
    if report.cautions:
        yield "\n## Before you use a number"
    for kind, cases in report.cautions.items():
        yield f"\n{markdown(kind)}:\n"
        yield from (f"- {markdown(case)}" for case in cases)
    yield "\n## Time\n"
    yield markdown_table(
        Table([["data, method", "n", "a run", "images/s", "machine"], *_times(report)])
    )
    yield "\n## Where each number comes from"
    for cell in report.cells:
        yield from _sources(cell)
    if report.strays:
        yield "\n### Runs whose settings cannot be read\n"
        yield from (f"- {markdown(run.path)}: {markdown(run.problem)}" for run in report.strays)


def _beside(report: Report) -> Iterator[str]:
    """The scores that stand beside the error, of the cells that have them."""
    found = [(cell, scores) for cell in report.cells if (scores := scores_beside(cell))]
    if not found:
        return
    yield "\n## Classes and calibration\n"
    yield f"{BESIDE_IN_WORDS}\n"
    columns = score_columns(scores for _, scores in found)
    rows = [[cell.full_name, *(str(each[name] or "") for name in columns)] for cell, each in found]
    yield markdown_table(Table([["data, method", *columns.values()], *rows]))


def _entry(cell: Cell) -> Markup:
    parts = [markdown(cell.in_words)]
    if cell.papers:
        mark = "⚠ " if cell.deviations else ""
        gap = f"; {cell.difference_in_words}" if cell.difference_in_words else ""
        parts.append(f"({mark}{markdown(cell.papers_in_words)}{gap})")
    mark = "⚠ " if cell.deviations and not cell.papers else ""
    published = cell.published_in_words.items()
    parts += [f"({mark}{markdown(f'{protocol}: {words}')})" for protocol, words in published]
    parts += [f"*{markdown(remark)}*" for remark in cell.remarks]
    return Markup("<br>".join(parts))


def _compared(pair: Comparison) -> list[str]:
    gap = "" if pair.difference is None else f"{pair.difference:+.2f}"
    estimates = [str(cell.estimate or "no result") for cell in (pair.plain, pair.isda)]
    by_seed = paired(pair.plain, pair.isda)
    seen = [str(by_seed or "no pair"), detectable_in_words(by_seed)]
    return [pair.isda.full_name, *estimates, gap, *seen, pair.verdict]


def _times(report: Report) -> Iterator[list[str]]:
    for cell in report.cells:
        if cell.seconds:
            rate = f"{cell.images_per_second.mean:,.0f}" if cell.images_per_second else ""
            n, time = str(cell.seconds.n), duration(cell.seconds.mean)
            yield [cell.full_name, n, time, rate, cell.machine]


def _sources(cell: Cell) -> Iterator[str]:
    yield f"\n### {markdown(cell.column.name)}: {markdown(cell.name)}\n"
    for fact in FACTS:
        yield from (f"- {fact}: {markdown(value)}" for value in by_value(cell.finished, fact))
    yield ""
    heads = ["seed", "state", judged_by(cell.runs), "last epoch", "labeled", "split", "data", "run"]
    yield markdown_table(Table([heads, *map(_run, cell.runs)]))


def _run(run: Run) -> list[str]:
    last, split = run.last_error, run.split
    return [
        str(run.seed),
        run.state + (f": {run.problem}" if run.problem else ""),
        f"{run.error:.2f}" if run.state == "finished" else "",
        "" if last is None else f"{last:.2f}",
        str(split.num_labeled) if split else "",
        f"seed {split.seed}, {split.digest[:SHORT]}" if split else "",
        split.checksum[:SHORT] if split else "",
        run.path,
    ]


# ---- LaTeX and CSV


def _comment(cell: Cell, text: str) -> str:
    return f"% {latex(cell.full_name)}: {latex(text)}"


def _latex_rows(cells: Sequence[Cell]) -> Iterator[list[str]]:
    """Our errors, and below them what the paper has of them."""
    yield [cells[0].name, *(cell.in_words for cell in cells)]
    papers = [cell.papers_in_words for cell in cells]
    gaps = [Markup(f"${gap}$") if (gap := cell.difference_in_words) else "" for cell in cells]
    for name, texts in (("paper", papers), ("difference", gaps)):
        if any(texts):
            yield [Markup(rf"\quad {name}"), *(text or "--" for text in texts)]
    for protocol in dict.fromkeys(figure.table for cell in cells for figure in cell.published):
        words = (cell.published_in_words.get(protocol, "--") for cell in cells)
        yield [Markup(rf"\quad {latex(protocol)}"), *words]


def _facts_of(run: Run) -> dict[str, object]:
    split, name = run.split, run.headline.name
    return {
        "run": run.path,
        "state": run.state,
        "problem": run.problem,
        name: run.error if run.state == "finished" else None,
        f"last_epoch_{name}": run.last_error,
        f"selected_{name}": run.selected_error,
        **dict.fromkeys(SCORES_BESIDE),
        **scores_of(run),
        "averaged_epochs": run.result.get("averaged_epochs"),
        "finished_epochs": len(run.epochs),
        "training_seconds": run.seconds,
        "images_per_second": run.images_per_second,
        "machine": run.machine,
        "num_labeled": split and split.num_labeled,
        "num_validation": split and split.num_validation,
        "split_seed": split and split.seed,
        "split_digest": split and split.digest,
        "data_checksum": split and split.checksum,
        "data_digest": run.data_digest,
        "commit": run.commit,
        "versions": run.versions,
        "finished": run.result.get("finished"),
        "command": run.command,
    }
