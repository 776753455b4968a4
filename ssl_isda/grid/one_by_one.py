"""The runs of a grid on this machine, one after another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ssl_isda.grid.attempts import run_to_end
from ssl_isda.grid.expansion import GridRun
from ssl_isda.grid.progress import Progress


def one_by_one(runs: Sequence[GridRun], program: Path, retries: int, progress: Progress) -> None:
    """Start each run when the one before has ended, however it ended."""
    for run in runs:
        command = [str(program), *run.arguments]
        progress.ended(run, run_to_end(command, os.getcwd(), retries, progress.tick))
