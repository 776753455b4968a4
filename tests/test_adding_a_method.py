"""docs/adding-a-method.md is true: its file and its import line are all that a new method takes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project in which the page's two steps were followed."""
    for part in ("ssl_isda", "methods", "datasets", "configs"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "run.py", tmp_path)
    source, import_line = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "methods" / "entropy_minimization.py").write_text(source, encoding="utf-8")
    with open(tmp_path / "methods" / "__init__.py", "a") as init:
        init.write(import_line)
    return tmp_path


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(project / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=project, timeout=200)


@pytest.mark.slow
def test_the_pages_method_trains_with_isda_and_takes_its_own_flags(project: Path) -> None:
    done = run(
        project,
        *"--dataset digits --method entropy_minimization --isda".split(),
        *"--consistency-weight 0.5 --width 0.05 --steps 25 --threads 1 --wandb disabled".split(),
    )
    assert done.returncode == 0, done.stderr
    folder = project / "runs" / "digits-20" / "entropy_minimization+isda" / "seed0"
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["consistency_loss"] > 0 and last["semantic_loss"] > 0
    assert "warning" not in (folder / "log.txt").read_text()


def test_help_shows_its_options_and_errors_know_it(project: Path) -> None:
    text = run(project, "--method", "entropy_minimization", "--help").stdout
    assert "--consistency-weight" in text and "weight of the entropy after" in text
    refused = run(project, "--method", "entropy_minimization", "--epsilon", "0.5")
    assert refused.returncode == 2 and "vat" in refused.stderr
