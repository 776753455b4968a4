"""Run folders as a training leaves them, without the training."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssl_isda.runs.result import summarize
from ssl_isda.runs.run_folder import cell_name
from ssl_isda.settings.resolve import resolve

ROOT = Path(__file__).resolve().parents[1]


def write_run(
    runs: Path,
    *flags: str,
    errors: Sequence[float] = (20.0, 10.0),
    state: str = "finished",
    extra: dict[str, float] | None = None,
    confusion: list[list[int]] | None = None,
    **result: Any,
) -> Path:
    """The folder of a run of ``flags`` whose epochs had these test errors.

    state : "finished", "unfinished" (no result) or "failed" (no result, and the log says why)
    extra : further metrics, the same in each epoch
    confusion : counts by true and predicted class
    result : further fields of result.json
    """
    method = () if "--method" in flags else ("--method", "vat")
    resolved = resolve([*method, *flags])
    config = resolved.config
    folder = runs / cell_name(resolved) / f"seed{config.seed}"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(resolved.to_yaml())
    split = {"version": 1, "dataset": config.dataset, "checksum": "c" * 64, "seed": config.seed}
    split |= {"labeled": [*range(20)], "validation": [], "digest": f"{config.seed:064x}"}
    (folder / "split.json").write_text(json.dumps(split))
    history = [_epoch(index, error, config.isda, extra) for index, error in enumerate(errors)]
    timing = [{"epoch": e["epoch"], "seconds": 2.0, "images_per_second": 640.0} for e in history]
    _write_lines(folder / "metrics.jsonl", history)
    _write_lines(folder / "timing.jsonl", timing)
    said = [f"epoch {index + 1}/40  supervised 1.0" for index in range(len(errors))]
    if state == "failed":
        said.append("failed: step 7: the supervised loss is nan")
    (folder / "log.txt").write_text("".join(f"2026-01-02 03:04:05 {line}\n" for line in said))
    if state == "finished":
        found = {**summarize(history), **_PROVENANCE, **result}
        if confusion:
            names = [f"class {number}" for number in range(len(confusion))]
            found |= {"class_names": names, "confusion": confusion}
        (folder / "result.json").write_text(json.dumps(found))
    return folder


_PROVENANCE = {
    "training_seconds": 4.0,
    "images_per_second": 640.0,
    "device": "x86_64",
    "threads": 1,
    "precision": "bf16",
    "versions": {"ssl_isda": "0.1.0", "torch": "2.6.0", "python": "3.11.7"},
    "finished": "2026-01-02T03:04:05Z",
    "command": ["python", "run.py", "--method", "vat"],
    "commit": "0123456789abcdef0123456789abcdef01234567",
}


def _epoch(
    index: int, error: float, isda: bool, extra: dict[str, float] | None
) -> dict[str, float]:
    metrics = {"epoch": index + 1, "step": 390 * (index + 1)}
    losses = {"supervised_loss": 2.0 * math.exp(-index / 9), "consistency_loss": 0.01 * error}
    losses |= {"semantic_loss": 0.5} if isda else {}
    schedule = {"learning_rate": 0.1, "consistency_weight": 1.0}
    schedule |= {"lambda": 0.001 * index} if isda else {}
    return {**metrics, **losses, **schedule, "test_error": error, **(extra or {})}


def _write_lines(path: Path, lines: Sequence[dict[str, float]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_seeds(runs: Path, *flags: str, last: Sequence[float]) -> None:
    """A run of four epochs for each of the ``last`` errors; a quarter of them counts, so the last."""
    for seed, error in enumerate(last):
        write_run(runs, *flags, "--seed", str(seed), errors=[90.0, 60.0, 30.0, error])
