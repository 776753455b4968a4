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
from ssl_isda.runs.metrics import HEADLINES, TOP5_ERROR, headline_of, headline_of_epoch

if TYPE_CHECKING:
    import torch

AVERAGED_EPOCHS = 10
"""The reported error is the mean of this many last epochs (Sec. 6.1 of ISDA)."""

SCORES_BESIDE = {
    "top5_error": "top-5 error",
    "balanced_error": "balanced error",
    "macro_f1": "macro F1",
    "calibration_error": "calibration error",
}
"""What stands beside the error: its name in a result, and its words. Of the last epoch; the top-5 error
of the epochs that the error is the mean of."""
_OF_PIXELS = {"pixel_accuracy": "pixel accuracy"}


def summarize(history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The errors to report, in percent, from the metrics of all epochs; or the mIoU of a segmentation,
    which has ``mean_iou`` wherever ``error`` stands below.

    ``top5_error`` is its mean over the same epochs, where there are many classes.
    ``error`` is the mean of the last 10 epochs, or of the last quarter of a run shorter than 40;
    ``last_epoch_error`` is the last one's; with a validation set ``selected_error`` is the test error
    of the epoch that was best on it. The best epoch on the test set is not a result. A run without a
    test part has no errors but that on its validation set.
    """
    length = {"epochs": len(history), "steps": history[-1]["step"]}
    num_averaged = max(1, min(AVERAGED_EPOCHS, len(history) // 4))
    headline = headline_of_epoch(history[-1])
    if headline is None:
        return length | _validated(history[-num_averaged:])
    name, validation = headline.name, headline.of_validation
    values = [epoch[headline.of_test] for epoch in history]
    result: dict[str, Any] = {
        name: statistics.fmean(values[-num_averaged:]),
        "averaged_epochs": num_averaged,
        f"last_epoch_{name}": values[-1],
        **length,
    }
    if TOP5_ERROR.name in history[-1]:
        last = [epoch.get(TOP5_ERROR.name) for epoch in history[-num_averaged:]]
        result["top5_error"] = statistics.fmean(value for value in last if value is not None)
    if validation in history[-1]:
        best = min if headline.lower_is_better else max
        selected = best(history, key=lambda epoch: epoch[validation])
        result |= {
            "selected_epoch": selected["epoch"],
            f"selected_{name}": selected[headline.of_test],
            f"selected_{validation}": selected[validation],
        }
    return result | _validated(history[-num_averaged:])


def _validated(epochs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean score of these epochs on the validation set, if there is one."""
    names = [each.of_validation for each in HEADLINES if each.of_validation in epochs[-1]]
    return {name: statistics.fmean(epoch[name] for epoch in epochs) for name in names}


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
    if "averaged_epochs" not in result:
        n = result["epochs"]
        return f"trained for {n:,} epoch{'s' * (n > 1)}; there is no test part to judge it by"
    n, headline = result["averaged_epochs"], headline_of(result)
    name = headline.name
    text = (
        f"test {headline.words} {result[name]:.2f} % (mean of the last {n} epoch{'s' * (n > 1)}), "
        f"last epoch {result[f'last_epoch_{name}']:.2f} %{_beside(result)}"
    )
    if f"selected_{name}" in result:
        text += (
            f", {result[f'selected_{name}']:.2f} % at epoch {result['selected_epoch']} "
            f"selected by validation ({result[f'selected_validation_{name}']:.2f} %)"
        )
    if result.get("extended_from"):
        text += f"; extended from {result['extended_from'][-1][0]:,} steps"
    return text


def _beside(result: Mapping[str, Any]) -> str:
    """In brackets; nothing of a result of version 0.1, which has none."""
    known = [
        f"{name} {value:.2f} %"
        for key, name in {**SCORES_BESIDE, **_OF_PIXELS}.items()
        if (value := result.get(key)) is not None
    ]
    return f" ({', '.join(known)})" if known else ""


def across_seeds(results: Sequence[Mapping[str, Any]]) -> str:
    """The errors of several seeds, or their mIoUs, in words."""
    headline = headline_of(results[0])
    if headline.name not in results[0]:
        return f"{len(results)} seeds are trained; there is no test part to judge them by"
    values = [result[headline.name] for result in results]
    return (
        f"test {headline.words} {statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f} % "
        f"(mean ± standard deviation of {len(values)} seeds)"
    )
