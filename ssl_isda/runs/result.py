"""What result.json holds: the errors to report, what they were made by, and both in words."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_isda.parallel.launch import num_launched

if TYPE_CHECKING:
    import torch

AVERAGED_EPOCHS = 10
"""The reported error is the mean of this many last epochs (Sec. 6.1 of ISDA)."""

SCORES_BESIDE = {
    "balanced_error": "balanced error",
    "macro_f1": "macro F1",
    "calibration_error": "calibration error",
}
"""What stands beside the error, of the last epoch: its name in a result, and its words."""


def summarize(history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The errors to report, in percent, from the metrics of all epochs.

    ``error`` is the mean of the last 10 epochs, or of the last quarter of a run shorter than 40;
    ``last_epoch_error`` is the last one's; with a validation set ``selected_error`` is the test error
    of the epoch that was best on it. The best epoch on the test set is not a result. A run without a
    test part has no errors.
    """
    length = {"epochs": len(history), "steps": history[-1]["step"]}
    if "test_error" not in history[-1]:
        return length
    num_averaged = max(1, min(AVERAGED_EPOCHS, len(history) // 4))
    errors = [epoch["test_error"] for epoch in history]
    result: dict[str, Any] = {
        "error": statistics.fmean(errors[-num_averaged:]),
        "averaged_epochs": num_averaged,
        "last_epoch_error": errors[-1],
        **length,
    }
    if "validation_error" in history[-1]:
        selected = min(history, key=lambda epoch: epoch["validation_error"])
        result |= {
            "selected_epoch": selected["epoch"],
            "selected_error": selected["test_error"],
            "selected_validation_error": selected["validation_error"],
            "validation_error": statistics.fmean(
                epoch["validation_error"] for epoch in history[-num_averaged:]
            ),
        }
    return result


def provenance(
    device: torch.device, precision: str, timing_file: Path, arguments: Sequence[str]
) -> dict[str, Any]:
    """What the numbers were made by; the speed is the median over the epochs.

    Parameters
    ----------
    arguments : the run's command line, behind run.py
    """
    import torch

    from ssl_isda import __version__

    timing = [json.loads(line) for line in timing_file.read_text().splitlines()]
    rates = [epoch["images_per_second"] for epoch in timing if "images_per_second" in epoch]
    on_gpu = device.type == "cuda"
    return {
        "training_seconds": round(sum(epoch["seconds"] for epoch in timing), 1),
        "images_per_second": round(statistics.median(rates or [0.0]), 1),
        "device": torch.cuda.get_device_name() if on_gpu else platform.machine(),
        "threads": torch.get_num_threads(),
        "processes": num_launched(),
        "precision": precision,
        "versions": {
            "ssl_isda": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": ["python", "run.py", *arguments],
    }


def commit_of(folder: Path) -> str | None:
    """The commit that the code in ``folder`` is at, if git knows; with a mark if files differ from it."""
    try:
        described = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None


def describe(result: Mapping[str, Any]) -> str:
    """A result in words."""
    n = result["averaged_epochs"]
    text = (
        f"test error {result['error']:.2f} % (mean of the last {n} epoch{'s' * (n > 1)}), "
        f"last epoch {result['last_epoch_error']:.2f} %{_beside(result)}"
    )
    if "selected_error" in result:
        text += (
            f", {result['selected_error']:.2f} % at epoch {result['selected_epoch']} "
            f"selected by validation ({result['selected_validation_error']:.2f} %)"
        )
    if result.get("extended_from"):
        text += f"; extended from {result['extended_from'][-1][0]:,} steps"
    return text


def _beside(result: Mapping[str, Any]) -> str:
    """In brackets; nothing of a result of version 0.1, which has none."""
    known = [
        f"{name} {value:.2f} %"
        for key, name in SCORES_BESIDE.items()
        if (value := result.get(key)) is not None
    ]
    return f" ({', '.join(known)})" if known else ""


def across_seeds(errors: Sequence[float]) -> str:
    """The errors of several seeds in words."""
    return (
        f"test error {statistics.fmean(errors):.2f} ± {statistics.stdev(errors):.2f} % "
        f"(mean ± standard deviation of {len(errors)} seeds)"
    )
