"""The W&B page, built without W&B; and the sweep's commands, as its agent makes them."""

from __future__ import annotations

import itertools
import json
import sys
import warnings
from pathlib import Path

import pytest
import yaml

from ssl_isda import cli
from ssl_isda.base.errors import UsageError
from ssl_isda.commands.dashboard import as_json, specification
from ssl_isda.runs.metrics import METRICS
from ssl_isda.settings.resolve import resolve

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of wandb-workspaces itself


@pytest.fixture
def workspace() -> type:
    """W&B's own class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from wandb_workspaces.workspaces import Workspace
    return Workspace


@pytest.fixture(scope="module")
def section() -> dict:
    return json.loads(as_json(specification("someone", "ssl-isda")))["section"]


def test_runs_are_grouped_by_cell_with_mean_and_band(section) -> None:
    (runs,) = section["runSets"]
    assert runs["grouping"] == [
        {"section": "run", "name": "group"},
        {"section": "config", "name": "data_digest.value"},
    ]
    for each in section["panelBankConfig"]["sections"]:
        assert each["localPanelSettings"]["useRunsTableGroupingInPanels"]
        for panel in each["panels"]:
            assert (panel["config"]["groupAgg"], panel["config"]["groupArea"]) == ("mean", "stddev")
            assert panel["config"]["xAxis"] == "epoch" and panel["config"]["yAxisTitle"]


def test_every_metric_of_a_run_has_its_panel(section) -> None:
    sections = section["panelBankConfig"]["sections"]
    assert [each["name"] for each in sections] == [*dict.fromkeys(m.section for m in METRICS)]
    panels = [panel["config"] for each in sections for panel in each["panels"]]
    assert [panel["metrics"] for panel in panels] == [[metric.name] for metric in METRICS]


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.expr", None)
    with pytest.raises(UsageError, match="pip install wandb-workspaces"):
        specification("someone", "ssl-isda")


def test_the_sweep_s_commands_are_ours() -> None:
    """Every point of the grid, through W&B's own code and our parser."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    sweep = yaml.safe_load((ROOT / "configs" / "sweep.yaml").read_text())
    assert sweep["program"] == "run.py" and (ROOT / sweep["program"]).exists()
    axes = {
        name: each.get("values", [each.get("value")]) for name, each in sweep["parameters"].items()
    }
    cells = set()
    for point in itertools.product(*axes.values()):
        given = {name: {"value": value} for name, value in zip(axes, point, strict=True)}
        flags = create_sweep_command_args({"args": given})["args_no_boolean_flags"]
        words = [w for w in sweep["command"] if w.startswith("--")]
        resolved = resolve([*flags, *words])
        config = resolved.config
        assert config.labels == 4000 and config.wandb == "online"
        cells.add((config.method, config.isda, config.seed))
    assert len(cells) == 5 * 2 * 5
    assert "${args_no_boolean_flags}" in sweep["command"]


def test_print_sends_nothing(workspace, capsys, monkeypatch) -> None:
    monkeypatch.setattr(workspace, "save", None)
    assert cli.main(["dashboard", "--entity", "me", "--print"]) == 0
    assert json.loads(capsys.readouterr().out)["section"]["panelBankConfig"]


def test_what_wandb_refuses_is_one_line(workspace, capsys, monkeypatch) -> None:
    def refuse(self: object) -> None:
        raise ValueError("no such project\nand more")

    monkeypatch.setattr(workspace, "save", refuse)
    assert cli.main(["dashboard", "--entity", "me", "--project", "p"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no such project and more" in line and "wandb login" in line and "me/p" in line
