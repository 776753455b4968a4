"""What docs/scaling.md shows is true."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from ssl_isda import cli
from ssl_isda.commands.grid import command
from ssl_isda.runs.grid_expansion import expand
from ssl_isda.runs.grid_file import read_grid
from ssl_isda.settings.components import read_components

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "scaling.md").read_text("utf-8")
COMMANDS = sorted(set(re.findall(r"^python run\.py (grid [^>\n]*)", PAGE, re.M)))


@pytest.mark.parametrize("text", COMMANDS)
def test_every_command_is_understood(text: str, monkeypatch) -> None:
    """As far as to the expansion, which has tests of its own."""
    monkeypatch.chdir(ROOT)
    reached = []
    monkeypatch.setattr(command, "expand", lambda *grid, **folders: reached.append(grid) or [])
    assert cli.main([*shlex.split(text), "--print-commands"]) == 0 and reached


def test_the_example_is_a_grid(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "grid.yaml").write_text(example)
    runs = expand(read_grid(tmp_path / "grid.yaml", read_components()), {})
    assert len(runs) == 2 * 2 * 2 * 3


def test_the_jobs_line_runs_the_command_of_its_number(tmp_path: Path) -> None:
    (job,) = re.findall(r"```bash\n(#!/bin/bash.*?)```", PAGE, re.DOTALL)
    (tmp_path / "commands.txt").write_text("echo one\necho 'a  b'\necho three\n")
    done = subprocess.run(
        ["bash", "-c", job],
        cwd=tmp_path,
        env={"SLURM_ARRAY_TASK_ID": "2", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "a  b\n"
