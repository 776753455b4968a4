"""A run that trains the head alone, on features of a frozen backbone, against the run that trains all.

CNN-13 at ``--width`` on digits, Mean Teacher with ISDA, 20 labels, from the weights of a short supervised
run; whole commands, with everything that a run writes. The features are computed anew, or read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ssl_isda
from tests.benchmarks.measurement import Row, Settings, interleaved

MOST_ROUNDS = 3
BATCH = 64


def measure(settings: Settings, num_steps: int = 200) -> Iterator[Row]:
    """Two rows: seconds of a run, frozen and not."""
    rounds = min(settings.rounds, MOST_ROUNDS)
    settings = dataclasses.replace(settings, rounds=rounds, seconds=0)
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield from _rows(settings, num_steps)
        finally:
            os.chdir(before)


def _rows(settings: Settings, num_steps: int) -> Iterator[Row]:
    start = _run(settings, method="supervised", labels=500, steps=max(1, num_steps // 4)).path
    of_teacher = {"method": "mean_teacher", "isda": True, "labels": 20, "steps": num_steps}
    frozen = {**of_teacher, "weights": start, "freeze": "backbone"}

    def computed() -> None:
        shutil.rmtree(Path("runs/.cache"), ignore_errors=True)
        _run(settings, **frozen)

    calls = {
        "computed": computed,
        "read": lambda: _run(settings, **frozen),
        "unfrozen": lambda: _run(settings, **of_teacher, weights=start),
    }
    seconds, images = interleaved(calls, settings), num_steps * 2 * BATCH
    for name in ("computed", "read"):
        case = f"{num_steps} steps of the head, features {name} / of all"
        yield Row("frozen", case, seconds[name], seconds["unfrozen"], images=images)


def _run(settings: Settings, **given: object) -> ssl_isda.Run:
    with contextlib.redirect_stdout(io.StringIO()):
        return ssl_isda.train(
            dataset="digits",
            width=settings.width,
            device=settings.device.type,
            precision=settings.precision,
            batch_size=BATCH if given["labels"] == 500 else 20,
            unlabeled_batch_size=BATCH,
            wandb="disabled",
            fresh=True,
            **given,
        )
