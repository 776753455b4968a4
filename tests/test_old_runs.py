"""Runs of version 0.1 go on, and stay done.

tests/data/run_0.1 holds one run twice, as version 0.1 (commit 5535bda) left it: ``halfway``, ended by
SIGTERM after its first epoch, in the middle of the second; and ``finished``. Both were made by

    python run.py --dataset digits --method mean_teacher --isda --width 0.02 --threads 1 --device cpu \
        --precision fp32 --wandb disabled --unlabeled-batch-size 300 --steps 13
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from tests.commands import ROOT, modified, train

OLD = ROOT / "tests" / "data" / "run_0.1"
COMMAND = json.loads((OLD / "finished" / "result.json").read_text())["command"][2:]
CELL = Path("runs/digits-20/mean_teacher+isda/seed0")
MADE_ON = "41562990d2bb97c4"
"""What ``this_place`` said where both were made."""


def this_place() -> str:
    """What bits depend on beside the code: the processor's model and abilities, and PyTorch."""
    processor = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    lines = re.findall(r"^(?:cpu family|model|model name|stepping|flags)\s*:.*$", processor, re.M)
    return hashlib.sha256("\n".join([*lines, torch.__version__]).encode()).hexdigest()[:16]


def epochs(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_of_0_1_goes_on_as_if_nothing_had_changed(tmp_path: Path) -> None:
    shutil.copytree(OLD / "halfway", tmp_path / CELL)
    printed = train(*COMMAND, cwd=tmp_path)
    assert "resuming at step 5 of 13\n" in printed
    expected, got = epochs(OLD / "finished"), epochs(tmp_path / CELL)
    assert [epoch.keys() for epoch in got] == [epoch.keys() for epoch in expected]
    if sys.platform == "linux" and this_place() == MADE_ON:
        assert got == expected
    for ours, theirs in zip(got, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_a_finished_run_of_0_1_is_done(tmp_path: Path) -> None:
    shutil.copytree(OLD / "finished", tmp_path / CELL)
    before = modified(tmp_path)
    printed = train(*COMMAND, cwd=tmp_path)
    error = json.loads((OLD / "finished" / "result.json").read_text())["error"]
    assert printed == (
        f"{CELL}: test error {error:.2f} % (mean of the last 1 epoch), last epoch {error:.2f} %\n"
    )
    assert modified(tmp_path) == before
