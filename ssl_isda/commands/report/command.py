"""``run.py report``: from run folders to four files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssl_isda.base.progress import show
from ssl_isda.base.words import printed
from ssl_isda.commands.report.contents import Report
from ssl_isda.commands.report.page import html_page
from ssl_isda.commands.report.text import latex_page, markdown_page, results_csv
from ssl_isda.results.runs import find_runs
from ssl_isda.results.writing import write_report
from ssl_isda.settings.options import Options, read_options
from ssl_isda.settings.setting import UsablePath

USAGE = """\
usage: python run.py report [RUNS ...] [--out DIR]

Writes tables and figures of runs: mean ± standard deviation beside the paper's Table 6, learning
curves, times, classes, and where each number comes from. It reads run folders and changes nothing in
them. RUNS are run folders, or folders above them; without any, the folder runs is read.
"""


class ReportConfig(Options):
    """Where the report goes."""

    out: UsablePath = Path("report")
    """Where report.html, report.md, results.csv and table.tex go, over older ones."""


def command(arguments: Sequence[str]) -> int:
    """Write the report that the words after ``report`` ask for; the exit code."""
    found = read_options(arguments, USAGE, ReportConfig)
    if found is None:
        return 0
    places, options = found
    report = Report(find_runs([Path(place) for place in places or ["runs"]]))
    write_report(report_files(report), options.out)
    show(f"{printed(options.out / 'report.html')}: {report.summary}")
    for line in report.odd_ones:
        show(f"warning: {line}")
    return 0


def report_files(report: Report) -> dict[str, str]:
    """The content of each file, by name."""
    return {
        "report.html": html_page(report),
        "report.md": markdown_page(report),
        "results.csv": results_csv(report),
        "table.tex": latex_page(report),
    }
