"""``run.py grid``: check everything, then start what is not done yet."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from ssl_isda.base.errors import Interrupted, RunError, UsageError
from ssl_isda.base.progress import show
from ssl_isda.commands.grid.on_ray import Share, is_installed, on_ray
from ssl_isda.commands.grid.one_by_one import one_by_one
from ssl_isda.commands.grid.progress import Progress
from ssl_isda.commands.grid.side_by_side import beside
from ssl_isda.commands.grid.stopping import heard, sigterm_interrupts
from ssl_isda.commands.train import train_one_of_many
from ssl_isda.runs.grid_expansion import GridRun, expand
from ssl_isda.runs.grid_file import read_grid
from ssl_isda.settings.components import Components, read_components
from ssl_isda.settings.config import RUN_SETTINGS
from ssl_isda.settings.options import read_command, read_options
from ssl_isda.settings.places import settings_file, shell_command
from ssl_isda.settings.resolve import peek
from ssl_isda.settings.setting import Setting

USAGE = """\
usage: python run.py grid FILE [flags]

Starts every run of a grid file: methods x ISDA x labels x seeds, or whatever its lists hold. Each is an
ordinary command: done runs are skipped, interrupted ones go on, and so does the grid itself when the
same command is given again. With Ray (pip install -e '.[grid]') many run at once, here or on the
cluster that RAY_ADDRESS names; without it one after another in one process, or in --processes N.

  python run.py grid configs/table6.yaml --gpus-per-run 0.5
  python run.py grid configs/table6.yaml --print-commands

Flags of run.py, such as --runs-dir, --data-dir, --steps, --threads or --wandb, set a value for all runs,
over what FILE says; options of a method, --config and --seeds belong into FILE.
"""


class GridConfig(Share):
    """How the runs of a grid are started."""

    processes: int = Field(1, ge=1)
    """Without Ray: processes that share the runs, each one after another; for many short ones."""
    seeds_first: bool = False
    """All runs of one seed before the next, so that a grid that is stopped leaves whole pairs."""
    print_commands: bool = False
    """Print the commands instead, one a line, for xargs or a SLURM array."""


class GridStopped(RunError):
    """SIGINT or SIGTERM: the runs were asked to save, and the same command goes on."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def command(arguments: Sequence[str]) -> int:
    """Start the grid that the words after ``grid`` ask for; 1 if a run failed.

    Raises
    ------
    UsageError
        A flag, the file, or a combination in it is wrong; nothing has been started.
    GridStopped
        A signal came.
    """
    if "--help" in arguments or "-h" in arguments:
        read_options(arguments, USAGE, GridConfig)
        return 0
    components = read_components(peek(arguments).get("plugin"))
    _refuse_flags_of_one_run(arguments, components)
    files, options, flags = read_command(arguments, GridConfig, _for_all_runs(components))
    if len(files) != 1:
        raise UsageError("grid needs one file, such as configs/table6.yaml")
    grid = read_grid(settings_file(Path(files[0])), components)
    runs = expand(grid, flags)
    if options.seeds_first:
        runs.sort(key=lambda run: run.resolved.config.seed)
    if options.print_commands:
        show("\n".join(shell_command(run.arguments) for run in runs))
        return 0
    if options.processes > 1 and (options.workers or 1) > 1:
        raise UsageError(
            "--processes goes without Ray, and --workers with it: leave one of them out"
        )
    return _start(options, runs, Progress(runs), arguments)


def _refuse_flags_of_one_run(arguments: Sequence[str], components: Components) -> None:
    flags = [word.partition("=")[0] for word in arguments if word.startswith("--")]
    options = {setting.flag for kind, _, setting in components.options() if kind == "method"}
    for flag in flags:
        if flag == "--fresh":
            raise UsageError("grid takes no --fresh: a retry would delete what is done")
        if flag == "--extend":
            raise UsageError("grid takes no --extend: runs are extended one by one")
        if flag in ("--config", "--seeds") or flag in options:
            raise UsageError(f"{flag} cannot be given to a grid: its FILE holds that")


def _for_all_runs(components: Components) -> dict[str, Setting]:
    """What can be set for all of them: everything but the options of single methods."""
    options = [option for kind, _, option in components.options() if kind != "method"]
    settings = {setting.name: setting for setting in (*options, *RUN_SETTINGS.values())}
    return {n: setting for n, setting in settings.items() if n not in ("fresh", "extend")}


def _start(
    options: GridConfig, runs: Sequence[GridRun], progress: Progress, arguments: Sequence[str]
) -> int:
    left = [run for run in runs if run.path in progress.left]
    show(f"grid: {len(runs)} runs, {len(progress.errors)} of them done before")
    try:
        with sigterm_interrupts(), progress.table():
            if left:
                _engine(options, left, progress, arguments)
    except (KeyboardInterrupt, Interrupted) as error:
        number = signal.Signals(_number(error))
        raise GridStopped(
            f"{number.name}: {len(progress.errors)} of {len(runs)} runs are done; the same command "
            "goes on from what the others have saved",
            128 + number,
        ) from error
    show(progress.summary(runs))
    return int(bool(progress.failures))


def _number(error: KeyboardInterrupt | Interrupted) -> int:
    if isinstance(error, Interrupted):
        return error.signal_number
    return heard[0] if heard else signal.SIGINT


def _engine(
    options: GridConfig, runs: Sequence[GridRun], progress: Progress, arguments: Sequence[str]
) -> None:
    if options.processes > 1:
        with beside(arguments, options.processes - 1):
            one_by_one(runs, train_one_of_many, progress)
    elif options.workers == 1:
        one_by_one(runs, train_one_of_many, progress)
    elif is_installed():
        on_ray(runs, options, progress)
    elif options.workers or os.environ.get("RAY_ADDRESS"):
        raise UsageError("grid needs Ray for this: pip install -e '.[grid]', or --workers 1")
    else:
        show("Ray is not installed (pip install -e '.[grid]'): one run after another")
        one_by_one(runs, train_one_of_many, progress)
