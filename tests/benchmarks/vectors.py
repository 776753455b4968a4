"""How long a user of embeddings waits for the first step, and how much memory the run holds then."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from tests.benchmarks.measurement import Row, Settings, interleaved
from tests.benchmarks.startup import MOST_ROUNDS, TWO_STEPS, peak_bytes, run_python, take_first_step

SECONDS_BEYOND_TORCH = 5.0
TIMES_THE_DATA = 2.0
NUM_CLASSES = 10


def measure(settings: Settings, num_rows: int = 100_000, width: int = 768) -> Iterator[Row]:
    """One step on so many vectors in an ``.npz`` file without a part to test on, beyond ``import torch``:
    its seconds against the five that they may take, its memory against twice the numbers' own."""
    rounds = min(settings.rounds, MOST_ROUNDS)
    settings = dataclasses.replace(settings, rounds=rounds, seconds=0, whole_processes=True)
    with tempfile.TemporaryDirectory() as name:
        runs, data = Path(name) / "runs", Path(name) / "embeddings.npz"
        num_bytes = write_vectors(data, num_rows, width)
        peaks: list[int] = []
        command = (*first_step(data, runs), "--device", settings.device.type)
        calls = {
            "ours": lambda: peaks.append(take_first_step(runs, *command)),
            "torch": functools.partial(run_python, "-c", "import torch"),
        }
        seconds = interleaved(calls, settings)
        beyond = [a - b for a, b in zip(seconds["ours"], seconds["torch"], strict=True)]
        is_cpu = settings.device.type == "cpu"
        yield Row(
            "vectors",
            f"first step on {num_rows:,} x {width} / {SECONDS_BEYOND_TORCH:g} s",
            beyond,
            [SECONDS_BEYOND_TORCH] * rounds,
            target=1.0 if is_cpu else None,
            memory=(max(peaks) - _peak_of_torch(), num_bytes),
            memory_target=TIMES_THE_DATA if is_cpu else None,
        )


def first_step(data: Path, runs: Path) -> tuple[str, ...]:
    """The command of a training on the file ``data`` that writes into ``runs``."""
    return (
        *("run.py", "--dataset", "vectors", "--data-dir", str(data), "--runs-dir", str(runs)),
        *("--method", "mean_teacher", "--isda", "--labels", "1000", *TWO_STEPS),
        *("--wandb", "disabled", "--threads", str(torch.get_num_threads())),
    )


def write_vectors(file: Path, num_rows: int, width: int) -> int:
    """Float32 rows, every second one labeled; the bytes of their numbers."""
    noise = np.random.default_rng(0)
    rows = noise.standard_normal((num_rows, width), np.float32)
    labels = noise.integers(NUM_CLASSES, size=num_rows)
    np.savez(file, X=rows, y=np.where(np.arange(num_rows) % 2, labels, -1))
    return rows.nbytes


def _peak_of_torch() -> int:
    """The most memory that Python holds which imports torch and waits."""
    with subprocess.Popen(
        [sys.executable, "-c", "import torch; print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout
        child.stdout.readline()
        peak = peak_bytes(child.pid)
        child.kill()
    return peak
