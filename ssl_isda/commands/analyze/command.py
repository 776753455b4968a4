"""``run.py analyze``: which analysis, and what each one does with its words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import counted, show
from ssl_isda.base.words import nearest, printed, shown
from ssl_isda.commands.analyze.options import (
    COLLECT_USAGE,
    COMPARISON_USAGE,
    COST_USAGE,
    OF_PLANS,
    POWER_USAGE,
    REDRAW_USAGE,
    STRENGTH_USAGE,
    TIGHTNESS_USAGE,
    CollectConfig,
    ComparisonConfig,
    CostConfig,
    PowerConfig,
    RedrawConfig,
    StrengthConfig,
    TightnessConfig,
)
from ssl_isda.results.runs import find_runs
from ssl_isda.results.writing import write_report
from ssl_isda.settings.options import Options, read_options
from ssl_isda.settings.recorded import settings_of_run

if TYPE_CHECKING:
    from ssl_isda.commands.analyze.comparison import Comparison

HELP = """\
usage: python run.py analyze ANALYSIS ...

  comparison   what ISDA changes, paired by seed: Table 6, Figs. 10 and 11, Table 8
  power        how many pairs would see an effect, from the differences that are there
  collect      results without weights, for a repository
  tightness    both upper bounds beside what they bound, over a training: Fig. 9
  strength     what ISDA's lambda came to at the end of runs
  cost         operations and time that ISDA adds to a step: Table 3
  redraw       tables and figures again, from the numbers that were kept

Each has a --help of its own.
"""


def command(arguments: Sequence[str]) -> int:
    """Answer the words after ``analyze``."""
    if not arguments:
        raise UsageError(f"analyze needs the name of an analysis: {', '.join(ANALYSES)}")
    name, *words = arguments
    if name in ("--help", "-h"):
        show(HELP.rstrip("\n"))
        return 0
    if name not in ANALYSES:
        hint = f"{nearest(name, ANALYSES)} (known: {', '.join(ANALYSES)})"
        raise UsageError(f"unknown analysis {shown(name)}{hint}")
    usage, model, answer = ANALYSES[name]
    found = read_options(words, usage, model)
    if found is not None:
        answer(*found)
    return 0


def comparison(places: Sequence[str], options: ComparisonConfig) -> None:
    """ISDA against the same method without it, or all cells against a baseline; see
    ``ssl_isda.commands.analyze.comparison`` and ``against`` there."""
    from ssl_isda.commands.analyze.against import Against, baseline_of
    from ssl_isda.commands.analyze.comparison import Comparison

    baseline = baseline_of(options.baseline)  # complains before the runs are read
    if baseline and options.columns:
        raise UsageError(
            "--columns is for ISDA against none, and --baseline for other rows: give one"
        )
    if options.training_loss and options.columns:
        raise UsageError("--training-loss adds to rows, and --columns has cells alone: give one")
    runs = find_runs([Path(place) for place in places or ["runs"]])
    compared = Against(runs, baseline) if baseline else Comparison(runs)
    table = _table(compared, options)
    if options.out is None:
        show(table.rstrip("\n"))
        return
    from ssl_isda.commands.analyze.comparison_figures import comparison_figures

    texts = {"comparison.md": table, "comparison.json": compared.json()}
    files: dict[str, str | bytes] = {**texts, **comparison_figures(compared)}
    write_report(files, options.out)
    show(f"{printed(options.out)}: {', '.join(files)}")
    for line in compared.odd_ones:
        show(f"warning: {line}")


def _table(compared: Comparison, options: ComparisonConfig) -> str:
    from ssl_isda.commands.analyze.by_columns import table_by_columns

    if options.columns:
        return table_by_columns(compared, options.columns.replace("-", "_"))
    return compared.table(options.training_loss)


def power(places: Sequence[str], options: PowerConfig) -> None:
    """How many pairs would see an effect; see ``ssl_isda.commands.analyze.power``."""
    from ssl_isda.commands.analyze.against import Against, baseline_of
    from ssl_isda.commands.analyze.comparison import Comparison
    from ssl_isda.commands.analyze.power import power_table

    if options.effect is None:
        raise UsageError("analyze power needs --effect, in points of test error, such as 0.5")
    baseline = baseline_of(options.baseline)
    runs = find_runs([Path(place) for place in places or ["runs"]])
    compared = Against(runs, baseline) if baseline else Comparison(runs)
    if not compared.effects:
        raise UsageError(
            "no two cells can be compared: power needs runs of the same method with and without ISDA, or "
            "--baseline and others"
        )
    show(power_table(compared, options.effect).rstrip("\n"))


def collect_results(places: Sequence[str], options: CollectConfig) -> None:
    """Results without weights; see ``ssl_isda.commands.analyze.collect``."""
    from ssl_isda.commands.analyze.collect import collect, collect_into_file
    from ssl_isda.results.gathered import SUFFIX

    if not places:
        raise UsageError("analyze collect needs a folder of runs, such as runs/table6_small")
    if options.out is None:
        raise UsageError("analyze collect needs --out, such as --out docs/results/table6_small")
    into_file = options.out.suffix == SUFFIX
    if len(places) > 1 and not into_file:
        raise UsageError(
            f"analyze collect takes one folder of runs, got {len(places)}; with --out FILE.jsonl it "
            "takes several"
        )
    folders = [Path(place) for place in places]
    count, left = (
        collect_into_file(folders, options.out) if into_file else collect(folders[0], options.out)
    )
    for problem in left:
        show(f"left out: {problem}")
    show(f"{printed(options.out)}: {count} run{'s' * (count != 1)}")


def redraw(places: Sequence[str], options: RedrawConfig) -> None:
    """Tables and figures from kept numbers; see ``ssl_isda.commands.analyze.redraw``."""
    if not places:
        raise UsageError("analyze redraw needs a folder, such as docs/results/tightness")
    from ssl_isda.commands.analyze.redraw import redraw as draw_again

    folders = [Path(place) for place in places]
    out = options.out or (folders[0] if len(folders) == 1 else Path())
    show(f"{printed(out)}: {', '.join(draw_again(folders, out))}")


def tightness(names: Sequence[str], options: TightnessConfig) -> None:
    """Both bounds beside explicit draws; see ``ssl_isda.commands.analyze.tightness``."""
    if len(names) != 1:
        raise UsageError("analyze tightness needs one run's folder, such as runs/RUN/seed0")
    path = Path(names[0])
    settings_of_run(path, options)  # complains before torch is imported
    from ssl_isda.assembly.trained import opened_trainer
    from ssl_isda.commands.analyze import tightness as bounds
    from ssl_isda.commands.analyze.tightness_page import tightness_files

    with opened_trainer(path, options) as trainer:
        kept = bounds.snapshots(path)
        measured = bounds.tightness(trainer, kept, options.samples)
        moments = list(counted(measured, len(kept), "snapshot", lambda _: 1))
        files = tightness_files(moments, options.samples)
        write_report(files, options.out or path)
    show(files["tightness.md"].rstrip("\n"))


def strength(places: Sequence[str], options: StrengthConfig) -> None:
    """What lambda came to at the end; see ``ssl_isda.commands.analyze.strength``."""
    runs = find_runs([Path(place) for place in places or ["runs"]])
    from ssl_isda.commands.analyze.strength import strength_files, strengths

    files = strength_files(strengths(runs, options))
    if options.out is not None:
        write_report(files, options.out)
    show(files["strength.md"].rstrip("\n"))


def cost(words: Sequence[str], options: CostConfig) -> None:
    """What ISDA adds to a step, or what runs will cost; see ``ssl_isda.commands.analyze.cost`` and
    ``planned`` there."""
    if words:
        raise UsageError(f"analyze cost takes flags alone, got {shown(words[0])}")
    _refuse_what_the_other_kind_takes(options)
    if options.config is not None:
        from ssl_isda.commands.analyze.planned import planned

        files = planned(options)
    else:
        from ssl_isda.commands.analyze.cost import costs_of
        from ssl_isda.commands.analyze.cost_page import cost_files

        files = cost_files(*costs_of(options))
    if options.out is not None:
        write_report(files, options.out)
    show(next(iter(files.values())).rstrip("\n"))


def _refuse_what_the_other_kind_takes(options: CostConfig) -> None:
    plans = options.config is not None
    for name in sorted(options.model_fields_set - {"config", "out"}):
        flag = f"analyze cost --{name.replace('_', '-')}"
        if name in OF_PLANS and not plans:
            raise UsageError(f"{flag} is about planned runs: it goes with --config")
        if name not in OF_PLANS and plans:
            raise UsageError(f"{flag} is about steps that are timed: leave it or --config out")


ANALYSES: Mapping[str, tuple[str, type[Options], Callable[[Sequence[str], Any], None]]] = {
    "comparison": (COMPARISON_USAGE, ComparisonConfig, comparison),
    "collect": (COLLECT_USAGE, CollectConfig, collect_results),
    "tightness": (TIGHTNESS_USAGE, TightnessConfig, tightness),
    "strength": (STRENGTH_USAGE, StrengthConfig, strength),
    "cost": (COST_USAGE, CostConfig, cost),
    "power": (POWER_USAGE, PowerConfig, power),
    "redraw": (REDRAW_USAGE, RedrawConfig, redraw),
}
"""Of each analysis its help, its flags, and what it does with the words and the flags."""
