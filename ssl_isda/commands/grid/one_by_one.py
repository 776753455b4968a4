"""The runs of a grid in this process, one after another: they share what a start takes.

Several such processes may work on one grid: a run that another one has is left to it, and looked at
again after each run of this one, so that what the other has done is counted soon. A run that fails in one
of them is not tried by the others.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Sequence

from ssl_isda.base.errors import FolderInUse, Interrupted, RunError
from ssl_isda.commands.grid.attempts import TICK, Outcome
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
    waiting, elsewhere = deque(runs), deque[GridRun]()
    with data_shared():
        while waiting or elsewhere:
            if not waiting:
                time.sleep(TICK)
                waiting, elsewhere = elsewhere, waiting
            run = waiting.popleft()
            is_new = not progress.is_started(run.path)
            if is_new:
                progress.started(run.path)
            if reason := progress.failed_elsewhere(run.path):
                outcome, signal_number = Outcome(1, f"{reason} (in another process)"), None
            else:
                outcome, signal_number = _silently(run, train)
            if outcome.exit_code == FolderInUse.exit_code and not signal_number:
                elsewhere.append(run)
            else:
                progress.ended(run, outcome)
                if is_new:
                    waiting.extendleft(reversed(elsewhere))
                    elsewhere.clear()
            if signal_number:
                raise Interrupted(outcome.reason, signal_number)
            if heard:  # and Python swallowed the exception, as it does within __del__
                raise KeyboardInterrupt


def _silently(run: GridRun, train: Train) -> tuple[Outcome, int | None]:
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        return _trained(run, train)


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
