"""What the README shows is true, and the commands of the other pages are understood."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel

from ssl_isda import cli
from ssl_isda.commands.analyze.options import (
    CollectConfig,
    ComparisonConfig,
    CostConfig,
    PowerConfig,
    RedrawConfig,
    StrengthConfig,
    TightnessConfig,
)
from ssl_isda.commands.dashboard import DashboardConfig
from ssl_isda.commands.detect.command import DetectConfig
from ssl_isda.commands.export import ExportConfig
from ssl_isda.commands.export_model import ExportModelConfig
from ssl_isda.commands.generate.options import read_train
from ssl_isda.commands.generate.sample_options import read_sample
from ssl_isda.commands.models import ModelsConfig
from ssl_isda.commands.predict.command import PredictConfig
from ssl_isda.commands.report.command import ReportConfig
from ssl_isda.commands.visualize.command import VisualizeConfig
from ssl_isda.settings.options import read_command
from ssl_isda.settings.resolve import answer, resolve
from tests.pages import snippet

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [README] + [
    path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "docs").glob("*.md"))
    if path.name not in ("adding-a-method.md", "extending.md")  # their parts are not there
]
STARTED = re.compile(r"(python|torchrun .*?) run\.py ([^#`|>\n]*)")
FOUND = [found for page in PAGES for found in STARTED.findall(page.replace("\\\n", ""))]
COMMANDS = sorted({re.sub(r"[][]", "", words).strip() for _, words in FOUND})
OPTIONS: dict[str, type[BaseModel]] = {
    "report": ReportConfig,
    "dashboard": DashboardConfig,
    "export": ExportConfig,
    "predict": PredictConfig,
    "export-model": ExportModelConfig,
    "models": ModelsConfig,
    "comparison": ComparisonConfig,
    "power": PowerConfig,
    "tightness": TightnessConfig,
    "strength": StrengthConfig,
    "cost": CostConfig,
    "collect": CollectConfig,
    "redraw": RedrawConfig,
    "visualize": VisualizeConfig,
    "detect": DetectConfig,
}
"""Of commands and analyses that cannot be started without runs."""


def test_the_loop_trains_backbone_and_head() -> None:
    names: dict[str, Any] = {
        "backbone": torch.nn.Linear(20, 8),
        "head": torch.nn.Linear(8, 3),
        "images": torch.randn(16, 20),
        "labels": torch.arange(16) % 3,
    }
    exec(snippet("README.md", "ISDALoss"), names)
    names["loss"].backward()
    for module in (names["backbone"], names["head"]):
        assert module.weight.grad.abs().sum() > 0


def test_three_lines_replace_the_cross_entropy() -> None:
    lines = snippet("README.md", "ISDALoss").splitlines()
    assert [line.split()[0] for line in lines if line] == ["from", "isda", "features", "loss"]


def test_every_kind_of_command_is_shown() -> None:
    first = {command.split()[0] for command in COMMANDS}
    assert {word for word in first if not word.startswith("--")} == set(cli.COMMANDS)
    assert sum(launcher.startswith("torchrun") for launcher, _ in FOUND) >= 2


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120


@pytest.mark.parametrize("page", sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]))
def test_nothing_stands_twice_on_a_page(page: Path) -> None:
    """Neither a heading nor a long line; headers of tables and parts of commands may."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    lines = [line for line in text.splitlines() if re.match("#|(?![| ]).{50}", line)]
    assert lines and [line for line, times in Counter(lines).items() if times > 1] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood(command: str, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    arguments = shlex.split(command)
    name = next(word for word in arguments if word != "analyze")
    if name == "generate":
        word, *after = arguments[1:]
        assert {"train": read_train, "sample": read_sample}[word](after)
    elif name in OPTIONS:
        after = arguments[arguments.index(name) + 1 :]
        assert read_command(after, OPTIONS[name])
    elif name in cli.COMMANDS:
        assert cli.main([*arguments, "--print-commands"]) == 0
    elif answer(arguments) is None:
        assert resolve(arguments).config.method


def test_files_to_read_exist() -> None:
    files = re.findall(r"^\d\. `([^`]+)`", README, re.MULTILINE)
    assert len(files) == 5 and all((ROOT / file).is_file() for file in files)


@pytest.mark.parametrize("page", sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]))
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", prose):
        assert (page.parent / target).exists(), target


def test_files_that_extending_names_exist() -> None:
    rows = re.findall(r"^\| .*`(.*?)` \|$", (ROOT / "docs/extending.md").read_text("utf-8"), re.M)
    assert len(rows) >= 9 and [name for name in rows if not (ROOT / name).is_file()] == []
