"""The soak itself: one short one, and that it would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import soak

QUICK = ["--only", "mean_teacher+isda", "--steps", "24", "--kills", "1", "--terms", "1"]


@pytest.mark.fault(1)
@pytest.mark.slow
def test_fault_1_a_short_soak_ends_with_the_same_bytes(capsys) -> None:
    assert soak.main(QUICK) == 0
    header, row, verdict = capsys.readouterr().out.splitlines()
    assert row.split()[:5] == ["mean_teacher+isda", "24", "1", "1", "3"] and "identical" in row
    assert verdict == "all ended with the same bytes" and "SHA-256" in header


@pytest.mark.slow
def test_a_soak_notices_a_run_that_ends_otherwise(monkeypatch, capsys) -> None:
    """The disturbed run begins with other weights."""
    command = soak.command

    def other(cell: str, runs: Path, steps: int) -> list[str]:
        return command(cell, runs, steps) + ["--seed", "7"] * (runs.name == "disturbed")

    monkeypatch.setattr(soak, "command", other)
    assert soak.main([*QUICK[:4], "--kills", "0", "--terms", "1"]) == 1
    assert "DIFFERENT" in capsys.readouterr().out
