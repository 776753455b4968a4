"""Kill training runs again and again, and see whether they end as if nothing had happened.

    make soak                                              # a quarter of an hour on two busy cores
    python -m tests.soak --only vat+isda --steps 60 --kills 3 --terms 1

Each way of training runs once undisturbed. Then it is started, killed at a random moment and started
again with the same command, with SIGKILL and SIGTERM in random order, until all signals have struck;
then it may finish. Checkpoint, metrics and split must be the same bytes in the end.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ssl_isda import methods

ROOT = Path(__file__).parents[1]
CELLS = [f"{name}{isda}" for name in methods.__all__ for isda in ("", "+isda")]
COMPARED = ("checkpoint.pt", "metrics.jsonl", "split.json")
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
MOMENTS = ("while it starts", "while it trains")


class SoakFailed(Exception):
    """A run did something that no signal explains."""


@dataclass(frozen=True)
class Soaked:
    """What became of one way of training."""

    cell: str
    steps: int
    kills: int
    terms: int
    starts: int
    same: bool
    digest: str
    seconds: float

    def row(self) -> str:
        verdict = "identical" if self.same else "DIFFERENT"
        return (
            f"{self.cell:<26}{self.steps:>6}{self.kills:>9}{self.terms:>9}{self.starts:>8}  "
            f"{self.digest[:16]}  {verdict}  {self.seconds:>5.0f} s"
        )


HEADER = (
    f"{'method':<26}{'steps':>6}{'SIGKILL':>9}{'SIGTERM':>9}{'starts':>8}  {'SHA-256':<16}  "
    "bytes at the end"
)


def soak(cell: str, folder: Path, *, steps: int, kills: int, terms: int, seed: int) -> Soaked:
    """Put one way of training through it.

    Raises
    ------
    SoakFailed
        A run ended by itself with an error, or before all signals had struck.
    """
    began, draw = time.monotonic(), random.Random(f"{seed} {cell}")
    undisturbed, disturbed = folder / "undisturbed", folder / "disturbed"
    training_seconds = _finish(command(cell, undisturbed, steps))
    signals = [signal.SIGKILL] * kills + [signal.SIGTERM] * terms
    draw.shuffle(signals)
    again = command(cell, disturbed, steps)
    for number in signals:
        # A bit more than a third of the run goes by under fire: it is not over before the last shot.
        patience = draw.uniform(0, 1.5 * training_seconds / len(signals))
        _strike(again, number, draw.choice(MOMENTS), patience, cell)
    _finish(again)
    digests = [
        digest(next(runs.rglob("checkpoint.pt")).parent) for runs in (undisturbed, disturbed)
    ]
    return Soaked(
        cell,
        steps,
        kills,
        terms,
        len(signals) + 1,
        digests[0] == digests[1],
        digests[1],
        time.monotonic() - began,
    )


def command(cell: str, runs: Path, steps: int) -> list[str]:
    """Digits, a narrow network, a checkpoint about once a second, five epochs."""
    method, _, isda = cell.partition("+")
    quick = ["--width", "0.1", "--threads", "1", "--wandb", "disabled", "--batch-size", "10"]
    schedule = ["--steps", str(steps), "--checkpoint-minutes", "0.01"]
    flags = [*quick, *schedule, "--dataset", "digits", "--runs-dir", str(runs)]
    return [
        sys.executable,
        str(ROOT / "run.py"),
        "--method",
        method,
        *flags,
        *["--isda"] * bool(isda),
    ]


def digest(run: Path) -> str:
    """Of weights, teacher, targets, statistics, optimizer, metrics and split."""
    whole = hashlib.sha256()
    for name in COMPARED:
        whole.update((run / name).read_bytes())
    return whole.hexdigest()


def _finish(arguments: list[str]) -> float:
    """Run to the end; the seconds from the first line that it prints."""
    with _start(arguments) as child:
        assert child.stdout
        child.stdout.readline()
        began = time.monotonic()
        _, complaint = child.communicate()
    if child.returncode:
        raise SoakFailed(f"exit code {child.returncode}: {complaint}")
    return time.monotonic() - began


def _strike(
    arguments: list[str], number: signal.Signals, moment: str, patience: float, cell: str
) -> None:
    with _start(arguments) as child:
        assert child.stdout
        if moment == "while it trains":
            child.stdout.readline()
        time.sleep(patience)
        child.send_signal(number)
        _, complaint = child.communicate()
    if child.returncode not in (-number, 128 + number):
        raise SoakFailed(f"{cell}: {number.name} {moment}: exit {child.returncode}: {complaint}")


def _start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def main(arguments: list[str] | None = None) -> int:
    """Soak every way of training; 1 if any ended differently."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=CELLS, choices=CELLS, metavar="METHOD[+isda]")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--kills", type=int, default=10, help="with SIGKILL")
    parser.add_argument("--terms", type=int, default=5, help="with SIGTERM")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args(arguments)
    print(HEADER, flush=True)
    all_same = True
    for cell in given.only:
        with tempfile.TemporaryDirectory() as folder:
            soaked = soak(
                cell,
                Path(folder),
                steps=given.steps,
                kills=given.kills,
                terms=given.terms,
                seed=given.seed,
            )
        print(soaked.row(), flush=True)
        all_same &= soaked.same
    print("all ended with the same bytes" if all_same else "SOME RUNS ENDED DIFFERENTLY")
    return 0 if all_same else 1


if __name__ == "__main__":
    sys.exit(main())
