"""``run.py analyze``: which analysis, and its flags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from ssl_isda.analysis.options import (
    COLLECT_USAGE,
    COMPARISON_USAGE,
    CollectConfig,
    ComparisonConfig,
)
from ssl_isda.config import settings_of
from ssl_isda.errors import UsageError
from ssl_isda.tracking import show
from ssl_isda.yaml_files import nearest, printed, shown

Analysis = Callable[[Sequence[str]], int]
Options = TypeVar("Options", bound=BaseModel)

HELP = """\
usage: python run.py analyze ANALYSIS ...

  comparison   what ISDA changes, paired by seed: Table 6, Figs. 10 and 11, Table 8
  collect      results without weights, for a repository
  tightness    both upper bounds beside what they bound, over a training: Fig. 9

Each has a --help of its own.
"""


def command(arguments: Sequence[str], others: Mapping[str, Analysis]) -> int:
    """Answer the words after ``analyze``; ``others`` are analyses that need methods or data.

    Raises
    ------
    UsageError
        No such analysis; and whatever the analysis raises.
    """
    analyses: Mapping[str, Analysis] = {"comparison": comparison, "collect": collect, **others}
    if not arguments:
        raise UsageError(f"analyze needs the name of an analysis: {', '.join(analyses)}")
    name = arguments[0]
    if name in ("--help", "-h"):
        show(HELP.rstrip("\n"))
        return 0
    if name not in analyses:
        raise UsageError(
            f"unknown analysis {shown(name)}{nearest(name, analyses)} (known: {', '.join(analyses)})"
        )
    return analyses[name](arguments[1:])


def read_options(
    arguments: Sequence[str], usage: str, model: type[Options]
) -> tuple[list[str], Options] | None:
    """The plain words and the flags of an analysis; None if its help was asked for, and shown."""
    from ssl_isda.command_line import command_help, read_command

    settings = settings_of(model)
    if "--help" in arguments or "-h" in arguments:
        show(command_help(usage, settings))
        return None
    words, values = read_command(arguments, settings)
    for word in words:
        if not word or "\0" in word:
            raise UsageError(f"a path is needed, got {shown(word) if word else 'nothing'}")
    return words, model(**values)


def comparison(arguments: Sequence[str]) -> int:
    """ISDA against the same method without it; see ``ssl_isda.analysis.comparison``."""
    found = read_options(arguments, COMPARISON_USAGE, ComparisonConfig)
    if found is None:
        return 0
    places, options = found
    from ssl_isda.analysis.comparison import Comparison, comparison_json, comparison_table
    from ssl_isda.report.command import write_report
    from ssl_isda.report.runs import find_runs

    compared = Comparison(find_runs([Path(place) for place in places or ["runs"]]))
    table = comparison_table(compared)
    if options.out is None:
        show(table.rstrip("\n"))
        return 0
    from ssl_isda.analysis.comparison_figures import comparison_figures

    files = {"comparison.md": table, "comparison.json": comparison_json(compared)}
    figures = {name: svg.decode() for name, svg in comparison_figures(compared).items()}
    write_report(files | figures, options.out)
    show(f"{printed(options.out)}: {', '.join(files | figures)}")
    return 0


def collect(arguments: Sequence[str]) -> int:
    """Results without weights; see ``ssl_isda.analysis.collect``."""
    found = read_options(arguments, COLLECT_USAGE, CollectConfig)
    if found is None:
        return 0
    places, options = found
    if len(places) != 1:
        raise UsageError("analyze collect needs one folder of runs, such as runs/table6_small")
    if options.out is None:
        raise UsageError("analyze collect needs --out, such as --out docs/results/table6_small")
    from ssl_isda.analysis.collect import collect as copy

    count, left = copy(Path(places[0]), options.out)
    for problem in left:
        show(f"left out: {problem}")
    show(f"{printed(options.out)}: {count} finished run{'s' * (count != 1)}")
    return 0
