"""What the README shows is true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

from ssl_isda.command_line import answer, resolve

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOLDERS = {"configs_dir": ROOT / "configs", "methods_dir": ROOT / "methods"}
COMMANDS = sorted(set(re.findall(r"python run\.py (--[^#`|\n]*)", README)))


def test_the_loop_runs_and_trains_backbone_and_head() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    loss = names["loss"]
    assert isinstance(loss, torch.Tensor) and torch.isfinite(loss)
    for module in (names["backbone"], names["head"]):
        assert module.weight.grad.abs().sum() > 0


def test_the_loop_takes_fewer_than_ten_lines() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    calls = [line for line in code.splitlines() if line.strip()]
    assert len(calls) <= 11, "two imports and fewer than ten lines"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood(command: str) -> None:
    arguments = shlex.split(command)
    if answer(arguments, **FOLDERS) is None:
        assert resolve(arguments, **FOLDERS).config.method


def test_files_to_read_exist() -> None:
    files = re.findall(r"^\d\. `([^`]+)`", README, re.MULTILINE)
    assert len(files) == 5 and all((ROOT / file).is_file() for file in files)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
