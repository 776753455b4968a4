"""What commands print, letter by letter: a file in snapshots/ opens with the command that it answers.

This records them anew; what ``git diff`` then shows is what users will see changed:

    python -m tests.test_snapshots
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_isda import cli
from tests.commands import NO_TORCH, ROOT, answer

FILES = sorted((ROOT / "tests" / "snapshots").glob("*.txt"))
START = "$ python run.py "


def command(file: Path) -> str:
    return file.read_text("utf-8").partition("\n")[0].removeprefix(START)


def answered(file: Path) -> str:
    """The command of a file and what it prints now; this machine's Python is called python."""
    code, out, err = answer(shlex.split(command(file)), ROOT)
    assert (code, err) == (0, ""), file.name
    return f"{START}{command(file)}\n{out}".replace(sys.executable, "python")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_command_prints_what_it_did(file: Path) -> None:
    text = file.read_text("utf-8")
    assert answered(file) == text
    assert "help" not in file.stem or max(map(len, text.splitlines())) <= 106


def test_every_command_shows_its_help_here() -> None:
    assert {f"{word} --help" for word in cli.COMMANDS} <= {command(file) for file in FILES}


def test_no_answer_needs_torch() -> None:
    """Nor numpy; but for the search, which asks its method whether it uses unlabeled images."""
    code = """
from tests.test_snapshots import *
sys.modules["numpy"] = sys.modules["torchvision"] = None
[answered(file) for file in FILES if file.stem != "search_commands"]
"""
    subprocess.run([sys.executable, "-c", NO_TORCH + code], check=True)


if __name__ == "__main__":
    for each in FILES:
        each.write_text(answered(each), "utf-8")
