"""Every way to be refused before any work: refusals.yaml has the words, the files and the one line.

This records the lines anew, each in its place; what ``git diff`` then shows is what users will see:

    python -m tests.test_refusals
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from ssl_isda import cli
from ssl_isda.settings.components import read_components
from tests.commands import NO_TORCH, ROOT, answer, modified

TABLE = Path(__file__).with_name("refusals.yaml")
ROWS: list[dict[str, str]] = yaml.safe_load(TABLE.read_text("utf-8"))
NO_FILES = {"words", "says", "after"}
NAMES = {
    "<methods>": sorted(path.stem for path in (ROOT / "methods").glob("[a-z]*.py")),
    "<data sets>": sorted(
        path.stem
        for path in (ROOT / "configs").glob("*.yaml")
        if f"\ndataset: {path.stem}\n" in path.read_text("utf-8")
    ),
    "<commands>": list(cli.COMMANDS),
    "<networks>": sorted(read_components().parts["model"]),
}
"""What grows: a row should not change with each new one."""


def repeated(text: str) -> str:
    """``text`` with <c x n> written out: c, n times."""
    return re.sub(r"<(.) x (\d+)>", lambda match: match[1] * int(match[2]), text)


def refused(row: dict[str, str], folder: Path) -> str:
    """What the command of a row says in a folder that holds the row's files, and does not touch."""
    for name in row.keys() - NO_FILES:
        encoding = "latin-1" if name == "bytes.yaml" else "utf-8"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(repeated(row[name]).encode(encoding))
    before = modified(folder)
    code, out, err = answer(shlex.split(repeated(row["words"])), folder)
    assert (code, out) == (2, "")
    assert modified(folder) == before or row.get("after") == "opening"
    assert err.startswith("run.py: ") and err.endswith("\n")
    line = err[len("run.py: ") : -1]
    for word, names in NAMES.items():
        line = line.replace(", ".join(names), word)
    assert line.isprintable() and len(line) < 300
    return line


@pytest.mark.fault(10)
@pytest.mark.fault(24)
@pytest.mark.fault(26)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join([*row.values()][:-1])[:60])
def test_fault_26_a_command_is_refused_in_one_line(row: dict[str, str], tmp_path: Path) -> None:
    assert refused(row, tmp_path) == row["says"]


@pytest.mark.fault(26)
def test_fault_26_refusals_need_no_torch() -> None:
    code = """
from tests.test_refusals import *
sys.modules["numpy"] = sys.modules["torchvision"] = None
for row in ROWS:
    if "after" not in row:
        assert refused(row, Path(tempfile.mkdtemp(dir="."))) == row["says"]
"""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", NO_TORCH + code], check=True, cwd=folder)


def recorded() -> str:
    """The table with what the commands say now."""
    lines, rows = TABLE.read_text("utf-8").splitlines(), iter(ROWS)
    for place, line in enumerate(lines):
        if line.startswith("  says:"):
            with tempfile.TemporaryDirectory() as folder:
                said = {"says": refused(next(rows), Path(folder))}
            lines[place] = "  " + yaml.safe_dump(said, width=10**9, allow_unicode=True).rstrip()
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    TABLE.write_text(recorded(), "utf-8")
