"""How long a user waits: whole processes, by the wall clock."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from tests.benchmarks.measurement import Row, Settings, interleaved

ROOT = Path(__file__).resolve().parents[2]
MOST_ROUNDS = 3
SECONDS_TO_FIRST_STEP = 10.0


def measure(settings: Settings) -> Iterator[Row]:
    """``--help`` against an idle Python; one training step on digits against ``import torch`` and
    against the ten seconds that it may take."""
    rounds = min(settings.rounds, MOST_ROUNDS)
    settings = dataclasses.replace(settings, rounds=rounds, seconds=0, whole_processes=True)
    yield _compare("run.py --help", ("run.py", "--help"), "python -c pass", "pass", settings)
    with tempfile.TemporaryDirectory() as folder:
        command = first_step(Path(folder))
        row = _compare("first step on digits", command, "import torch", "import torch", settings)
        yield row
        allowed = [SECONDS_TO_FIRST_STEP] * len(row.ours)
        yield Row("startup", "first step on digits / 10 s", row.ours, allowed, 1.0)


def first_step(folder: Path) -> tuple[str, ...]:
    """The command that takes one training step on digits and writes into ``folder``."""
    what = ("--dataset", "digits", "--method", "vat", "--isda", "--steps", "1", "--fresh")
    where = ("--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data"))
    return "run.py", *what, *where, "--wandb", "disabled", "--threads", str(torch.get_num_threads())


def _compare(
    case: str, command: tuple[str, ...], reference: str, statement: str, settings: Settings
) -> Row:
    calls = {
        "ours": functools.partial(run_python, *command),
        "reference": functools.partial(run_python, "-c", statement),
    }
    seconds = interleaved(calls, settings)
    return Row("startup", f"{case} / {reference}", seconds["ours"], seconds["reference"])


def run_python(*arguments: str) -> None:
    """Python on ``arguments`` in the project's folder.

    Raises
    ------
    CalledProcessError
        It failed.
    """
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
