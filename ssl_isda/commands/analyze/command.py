"""``run.py analyze``: which analysis, and its flags."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import show
from ssl_isda.base.words import nearest, printed, shown
from ssl_isda.commands.analyze.options import (
    COLLECT_USAGE,
    COMPARISON_USAGE,
    COST_USAGE,
    REDRAW_USAGE,
    TIGHTNESS_USAGE,
    CollectConfig,
    ComparisonConfig,
    CostConfig,
    RedrawConfig,
    TightnessConfig,
)
from ssl_isda.settings.config import settings_of
from ssl_isda.settings.recorded import settings_of_run

if TYPE_CHECKING:
    from ssl_isda.commands.analyze.cost import Cost

COST_METHODS = ("supervised", "temporal_ensembling")
"""The paper's training, and the cheapest one that has both propositions."""
COST_CLASSES = (10, 100)

Analysis = Callable[[Sequence[str]], int]
Options = TypeVar("Options", bound=BaseModel)

HELP = """\
usage: python run.py analyze ANALYSIS ...

  comparison   what ISDA changes, paired by seed: Table 6, Figs. 10 and 11, Table 8
  collect      results without weights, for a repository
  tightness    both upper bounds beside what they bound, over a training: Fig. 9
  cost         operations and time that ISDA adds to a step: Table 3
  redraw       tables and figures again, from the numbers that were kept

Each has a --help of its own.
"""


def command(arguments: Sequence[str]) -> int:
    """Answer the words after ``analyze``.

    Raises
    ------
    UsageError
        No such analysis; and whatever the analysis raises.
    """
    analyses: Mapping[str, Analysis] = {
        "comparison": comparison,
        "collect": collect,
        "tightness": tightness,
        "cost": cost,
        "redraw": redraw,
    }
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
    from ssl_isda.settings.resolve import command_help, read_command

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
    """ISDA against the same method without it; see ``ssl_isda.commands.analyze.comparison``."""
    found = read_options(arguments, COMPARISON_USAGE, ComparisonConfig)
    if found is None:
        return 0
    places, options = found
    from ssl_isda.commands.analyze.comparison import Comparison, comparison_json, comparison_table
    from ssl_isda.commands.report.command import write_report
    from ssl_isda.results.runs import find_runs

    compared = Comparison(find_runs([Path(place) for place in places or ["runs"]]))
    table = comparison_table(compared)
    if options.out is None:
        show(table.rstrip("\n"))
        return 0
    from ssl_isda.commands.analyze.comparison_figures import comparison_figures

    files = {"comparison.md": table, "comparison.json": comparison_json(compared)}
    figures = {name: svg.decode() for name, svg in comparison_figures(compared).items()}
    write_report(files | figures, options.out)
    show(f"{printed(options.out)}: {', '.join(files | figures)}")
    return 0


def collect(arguments: Sequence[str]) -> int:
    """Results without weights; see ``ssl_isda.commands.analyze.collect``."""
    found = read_options(arguments, COLLECT_USAGE, CollectConfig)
    if found is None:
        return 0
    places, options = found
    if len(places) != 1:
        raise UsageError("analyze collect needs one folder of runs, such as runs/table6_small")
    if options.out is None:
        raise UsageError("analyze collect needs --out, such as --out docs/results/table6_small")
    from ssl_isda.commands.analyze.collect import collect as copy

    count, left = copy(Path(places[0]), options.out)
    for problem in left:
        show(f"left out: {problem}")
    show(f"{printed(options.out)}: {count} run{'s' * (count != 1)}")
    return 0


def redraw(arguments: Sequence[str]) -> int:
    """Tables and figures from kept numbers; see ``ssl_isda.commands.analyze.redraw``."""
    found = read_options(arguments, REDRAW_USAGE, RedrawConfig)
    if found is None:
        return 0
    places, options = found
    if not places:
        raise UsageError("analyze redraw needs a folder, such as docs/results/tightness")
    folders = [Path(place) for place in places]
    out = options.out or (folders[0] if len(folders) == 1 else Path())
    from ssl_isda.commands.analyze.redraw import redraw as draw_again

    names = draw_again(folders, out)
    show(f"{printed(out)}: {', '.join(names)}")
    return 0


def tightness(arguments: Sequence[str]) -> int:
    """Both bounds beside explicit draws; see ``ssl_isda.commands.analyze.tightness``."""
    found = read_options(arguments, TIGHTNESS_USAGE, TightnessConfig)
    if found is None:
        return 0
    names, options = found
    if len(names) != 1:
        raise UsageError("analyze tightness needs one run's folder, such as runs/RUN/seed0")
    path = Path(names[0])
    from ssl_isda.base.progress import counted
    from ssl_isda.commands.report.command import write_report

    settings_of_run(path, options)
    from ssl_isda.assembly import opened_trainer

    with opened_trainer(path, options) as trainer:
        from ssl_isda.commands.analyze import tightness as bounds
        from ssl_isda.commands.analyze.tightness_page import tightness_files

        kept = bounds.snapshots(path)
        measured = bounds.tightness(trainer, kept, options.samples)
        moments = list(counted(measured, len(kept), "snapshot", lambda _: 1))
        files = tightness_files(moments, options.samples)
        write_report(files, options.out or path)
    show(files["tightness.md"].rstrip("\n"))
    return 0


def cost(arguments: Sequence[str]) -> int:
    """What ISDA adds to a step; see ``ssl_isda.commands.analyze.cost``."""
    found = read_options(arguments, COST_USAGE, CostConfig)
    if found is None:
        return 0
    words, options = found
    if words:
        raise UsageError(f"analyze cost takes flags alone, got {shown(words[0])}")
    import torch

    from ssl_isda.commands.analyze.cost_page import cost_files
    from ssl_isda.commands.report.command import write_report

    if options.threads:
        torch.set_num_threads(options.threads)
    costs, machine = _costs(options)
    files = cost_files(costs, machine)
    if options.out is not None:
        write_report(files, options.out)
    show(files["cost.md"].rstrip("\n"))
    return 0


def _costs(options: CostConfig) -> tuple[list[Cost], str]:
    """Of every network in every kind of training, and where they were measured."""
    import torch

    from ssl_isda.assembly import device_named
    from ssl_isda.base.precision import fastest_precision
    from ssl_isda.commands.analyze.cost import Case, Setup, measure, network_and_objective
    from ssl_isda.models import MODELS

    device = device_named(options.device)
    precision = fastest_precision(device) if options.precision == "auto" else options.precision
    setup = Setup(options.batch_size, options.rounds, device, precision)
    costs = []
    for model, method, num_classes in itertools.product(MODELS, COST_METHODS, COST_CLASSES):
        case = Case(model, options.width, method, num_classes)
        show(f"{model}, width {options.width:g}, {method}, {num_classes} classes ...")
        costs.append(measure(case, lambda c: network_and_objective(c, options.batch_size), setup))
    place = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    return (
        costs,
        f"{place}, {torch.get_num_threads()} threads, {precision}, torch {torch.__version__}",
    )
