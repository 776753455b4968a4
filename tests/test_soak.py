"""The soak itself: one short one, and that it would notice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import soak

QUICK = ["--only", "mean_teacher+isda", "--steps", "12", "--kills", "1", "--terms", "1"]


@pytest.mark.fault(1)
@pytest.mark.slow
def test_fault_1_a_short_soak_ends_with_the_same_bytes(capsys) -> None:
    assert soak.main(QUICK) == 0
    header, row, verdict = capsys.readouterr().out.splitlines()
    assert row.split()[:5] == ["mean_teacher+isda", "12", "1", "1", "3"] and "identical" in row
    assert verdict == "all ended with the same bytes" and "SHA-256" in header


STUB = """
import pathlib, sys
print("training", flush=True)
run = pathlib.Path(sys.argv[1], "run")
run.mkdir(parents=True)
for name in ("checkpoint.pt", "metrics.jsonl", "split.json"):
    (run / name).write_text("other" if name == sys.argv[2] else "same")
"""
"""In place of a training: leaves its three files, one of them perhaps other than it should be."""


@pytest.mark.parametrize("other", ["checkpoint.pt", "metrics.jsonl", "split.json", "none"])
def test_a_soak_notices_a_run_that_ends_otherwise(other: str, monkeypatch, capsys) -> None:
    def command(cell: str, runs: Path, steps: int) -> list[str]:
        return [sys.executable, "-c", STUB, str(runs), other * (runs.name == "disturbed")]

    monkeypatch.setattr(soak, "command", command)
    differs = other != "none"
    assert soak.main([*QUICK[:4], "--kills", "0", "--terms", "0"]) == differs
    assert ("DIFFERENT" in capsys.readouterr().out) == differs
