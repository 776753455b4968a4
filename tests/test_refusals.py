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

from tests.commands import NO_TORCH, answer

TABLE = Path(__file__).with_name("refusals.yaml")
ROWS: list[dict[str, str]] = yaml.safe_load(TABLE.read_text("utf-8"))
NO_FILES = {"words", "says", "torch"}


def repeated(text: str) -> str:
    """``text`` with <c x n> written out: c, n times."""
    return re.sub(r"<(.) x (\d+)>", lambda match: match[1] * int(match[2]), text)


def refused(row: dict[str, str], folder: Path) -> str:
    """What the command of a row says in a folder that holds the row's files, and does not touch."""
    for name in row.keys() - NO_FILES:
        encoding = "latin-1" if name == "bytes.yaml" else "utf-8"
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(repeated(row[name]).encode(encoding))
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}
    code, out, err = answer(shlex.split(repeated(row["words"])), folder)
    assert (code, out) == (2, "")
    assert {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]} == before
    assert err.startswith("run.py: ") and err.endswith("\n")
    return err[len("run.py: ") : -1]


@pytest.mark.fault(10)
@pytest.mark.fault(24)
@pytest.mark.fault(26)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row.values())[:60])
def test_fault_26_a_command_is_refused_in_one_line(row: dict[str, str], tmp_path: Path) -> None:
    line = refused(row, tmp_path)
    assert line == row["says"]
    assert line.isprintable() and len(line) < 300


def test_no_row_stands_twice() -> None:
    asked = [{name: text for name, text in row.items() if name != "says"} for row in ROWS]
    assert not [row for row in asked if asked.count(row) > 1]


@pytest.mark.fault(26)
def test_fault_26_refusals_need_no_torch() -> None:
    code = """
from tests.test_refusals import *
for row in ROWS:
    if "torch" not in row:
        assert refused(row, Path(tempfile.mkdtemp(dir="."))) == row["says"]
"""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", NO_TORCH + code], check=True, cwd=folder)


if __name__ == "__main__":
    text = TABLE.read_text("utf-8")
    lines, rows = text.splitlines(), iter(ROWS)
    for place, line in enumerate(lines):
        if line.startswith("  says:"):
            with tempfile.TemporaryDirectory() as folder:
                said = refused(next(rows), Path(folder))
            lines[place] = "  says: " + yaml.safe_dump(said, width=10**9, allow_unicode=True).split(
                "\n"
            )[0]
    TABLE.write_text("\n".join(lines) + "\n", "utf-8")
