"""How long ``run.py report`` takes on many long runs, a whole process, and how large its page is."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks.measurement import Row, Settings, interleaved
from tests.benchmarks.startup import run_python
from tests.synthetic_runs import write_run

COLUMNS = (("cifar10", 1000), ("cifar10", 2000), ("cifar10", 4000), ("cifar100", 10000))
METHODS = ("supervised", "pi_model", "temporal_ensembling", "mean_teacher", "vat")
MOST_ROUNDS = 3


def measure(settings: Settings, num_epochs: int = 400, num_seeds: int = 6) -> Iterator[Row]:
    """240 runs of 400 epochs against an idle Python; the case names the size of the page."""
    rounds = min(settings.rounds, MOST_ROUNDS)
    settings = dataclasses.replace(settings, rounds=rounds, seconds=0, whole_processes=True)
    with tempfile.TemporaryDirectory() as folder:
        runs, out = Path(folder, "runs"), Path(folder, "report")
        count = write_runs(runs, num_epochs, range(num_seeds))
        ours = functools.partial(run_python, "run.py", "report", str(runs), "--out", str(out))
        seconds = interleaved(
            {"ours": ours, "reference": functools.partial(run_python, "-c", "pass")}, settings
        )
        size = (out / "report.html").stat().st_size / 1e6
    case = f"{count} runs of {num_epochs} epochs, {size:.1f} MB"
    yield Row("report", case, seconds["ours"], seconds["reference"])


def write_runs(runs: Path, num_epochs: int, seeds: Sequence[int]) -> int:
    """Every method, plain and with ISDA, in every column, with all diagnostics; how many runs."""
    cells = list(itertools.product(COLUMNS, METHODS, ((), ("--isda",))))
    diagnostics = dict.fromkeys(DIAGNOSTICS, 50.0)
    for number, ((dataset, labels), method, isda) in enumerate(cells):
        flags = ("--dataset", dataset, "--labels", str(labels), "--method", method, *isda)
        for seed in seeds:
            errors = [90 * math.exp(-e / 60) + number / 9 + seed for e in range(num_epochs)]
            confusion = [[90 if i == j else 1 + seed for j in range(10)] for i in range(10)]
            options = {"errors": [min(error, 100) for error in errors], "confusion": confusion}
            write_run(runs, *flags, "--seed", str(seed), extra=diagnostics, **options)
    return len(cells) * len(seeds)


DIAGNOSTICS = (
    *("pseudo_label_accuracy", "confident_share", "agreement", "mean_variance"),
    *("gradient_norm_supervised", "gradient_norm_semantic", "gradient_norm_consistency"),
)
