"""``run.py report``: from run folders to four files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_isda.errors import UsageError
from ssl_isda.files import output_failed, write_atomically
from ssl_isda.tracking import show
from ssl_isda.yaml_files import nearest, printed, shown

if TYPE_CHECKING:
    from ssl_isda.report.contents import Report

USAGE = """\
usage: python run.py report [RUNS ...] [--out DIR]

Tables and figures of runs: mean ± standard deviation beside the paper's Table 6, learning curves,
times, classes, and where each number comes from. Reads run folders and changes nothing in them.

  RUNS          run folders, or folders above them [runs]
  --out DIR     where report.html, report.md, results.csv and table.tex go, over older ones [report]
  --help        this text"""


def command(arguments: Sequence[str]) -> int:
    """Write the report that the words after ``report`` ask for; the exit code.

    Raises
    ------
    UsageError
        An unknown flag, no such folder, no runs.
    OutputFailed
        A file could not be written.
    """
    if "--help" in arguments or "-h" in arguments:
        show(USAGE)
        return 0
    places, out = _parse(arguments)
    from ssl_isda.report.contents import Report
    from ssl_isda.report.runs import find_runs

    report = Report(find_runs(places))
    write_report(report_files(report), out)
    show(f"{printed(out / 'report.html')}: {report.summary}")
    return 0


def report_files(report: Report) -> dict[str, str]:
    """The content of each file, by name."""
    from ssl_isda.report.latex import latex_table
    from ssl_isda.report.markdown import markdown_page
    from ssl_isda.report.page import html_page
    from ssl_isda.report.spreadsheet import results_csv

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


def _parse(arguments: Sequence[str]) -> tuple[list[Path], Path]:
    """The places to look at, and where the report goes."""
    words, places, outs = list(arguments), [], []
    while words:
        word = words.pop(0)
        flag, equals, value = word.partition("=")
        if flag == "--out":
            outs.append(value if equals else _value(words))
        elif word.startswith("-"):
            hint = nearest(flag, ("--out", "--help"))
            raise UsageError(f"report: unknown flag {shown(flag)}{hint} (--help lists them all)")
        else:
            places.append(_path(word, "RUNS"))
    if len(set(outs)) > 1:
        raise UsageError(f"report: --out is given twice: {shown(outs[0])}, {shown(outs[1])}")
    return places or [Path("runs")], _path(outs[0] if outs else "report", "--out")


def _value(words: list[str]) -> str:
    if not words or words[0].startswith("-"):
        raise UsageError("report: --out needs a value")
    return words.pop(0)


def _path(text: str, what: str) -> Path:
    if not text or "\0" in text:
        raise UsageError(f"report: {what} must be a path, got {shown(text) if text else 'nothing'}")
    return Path(text)
