"""The runs of a grid in this process, one after another: they share what a start takes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence

from ssl_isda.base.errors import Interrupted, RunError
from ssl_isda.commands.grid.attempts import Outcome
from ssl_isda.commands.grid.progress import Progress
from ssl_isda.commands.grid.stopping import heard
from ssl_isda.commands.train import data_shared
from ssl_isda.runs.grid_expansion import GridRun
from ssl_isda.settings.config import Resolved

Train = Callable[[Resolved], object]
"""Trains a run with these settings."""


def one_by_one(runs: Sequence[GridRun], train: Train, progress: Progress) -> None:
    """Train each run when the one before has ended, well or by a failure of its own. Runs that follow
    each other and read the same data alike read them once.

    What a run prints is not shown; it stands in its log.txt.

    Raises
    ------
    Interrupted, KeyboardInterrupt
        A signal came; the run in training has saved.
    """
    with data_shared():
        _one_by_one(runs, train, progress)


def _one_by_one(runs: Sequence[GridRun], train: Train, progress: Progress) -> None:
    for run in runs:
        progress.started(run.path)
        with (
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            outcome, signal_number = _trained(run, train)
        progress.ended(run, outcome)
        if signal_number:
            raise Interrupted(outcome.reason, signal_number)
        if heard:  # and Python swallowed the exception, as it does within __del__
            raise KeyboardInterrupt


def _trained(run: GridRun, train: Train) -> tuple[Outcome, int | None]:
    """How it ended, and a signal that came before its failure; no exception is kept alive."""
    try:
        train(run.resolved)
    except Interrupted:
        raise
    except RunError as error:
        outcome = Outcome(error.exit_code, f"exit code {error.exit_code}: {error}")
        return outcome, error.signal_number
    except Exception as error:  # a fault of ours or of a library ends this run alone
        reason = " ".join(f"exit code 1: {type(error).__name__}: {error}".split())[:300]
        return Outcome(1, reason), None
    return Outcome(0, ""), None
