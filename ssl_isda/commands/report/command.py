"""``run.py report``: from run folders to four files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import output_failed, write_atomically
from ssl_isda.base.progress import show
from ssl_isda.base.words import printed, shown
from ssl_isda.settings.config import UsablePath, settings_of

if TYPE_CHECKING:
    from ssl_isda.commands.report.contents import Report

USAGE = """\
usage: python run.py report [RUNS ...] [--out DIR]

Tables and figures of runs: mean ± standard deviation beside the paper's Table 6, learning curves,
times, classes, and where each number comes from. Reads run folders and changes nothing in them.
RUNS are run folders, or folders above them; without any, the folder runs.
"""


class ReportConfig(BaseModel):
    """Where the report goes."""

    model_config = ConfigDict(frozen=True, strict=True, use_attribute_docstrings=True)

    out: UsablePath = Path("report")
    """Where report.html, report.md, results.csv and table.tex go, over older ones."""


def command(arguments: Sequence[str]) -> int:
    """Write the report that the words after ``report`` ask for; the exit code.

    Raises
    ------
    UsageError
        An unknown flag, no such folder, no runs.
    OutputFailed
        A file could not be written.
    """
    from ssl_isda.commands.report.contents import Report
    from ssl_isda.results.runs import find_runs
    from ssl_isda.settings.resolve import command_help, read_command

    settings = settings_of(ReportConfig)
    if "--help" in arguments or "-h" in arguments:
        show(command_help(USAGE, settings))
        return 0
    places, values = read_command(arguments, settings)
    out = ReportConfig(**values).out
    for place in places:
        if not place or "\0" in place:
            raise UsageError(f"RUNS must be paths, got {shown(place) if place else 'nothing'}")
    report = Report(find_runs([Path(place) for place in places or ["runs"]]))
    write_report(report_files(report), out)
    show(f"{printed(out / 'report.html')}: {report.summary}")
    return 0


def report_files(report: Report) -> dict[str, str]:
    """The content of each file, by name."""
    from ssl_isda.commands.report.page import html_page
    from ssl_isda.results.latex import latex_table
    from ssl_isda.results.markdown import markdown_page
    from ssl_isda.results.spreadsheet import results_csv

    return {
        "report.html": html_page(report),
        "report.md": markdown_page(report),
        "results.csv": results_csv(report),
        "table.tex": latex_table(report),
    }


def write_report(files: dict[str, str], out: Path) -> None:
    """Put each file into the folder ``out``, whole or not at all.

    Raises
    ------
    UsageError
        ``out`` is a file.
    OutputFailed
        The folder or a file could not be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"--out {printed(out)} is a file; a folder is needed") from None
    except NotADirectoryError:
        raise UsageError(f"--out {printed(out)} lies below a file") from None
    except OSError as error:
        raise output_failed(error, out, 0) from error
    for name, text in files.items():
        write_atomically(out / name, text.encode("utf-8", "backslashreplace"))
