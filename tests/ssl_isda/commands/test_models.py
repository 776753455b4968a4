"""``run.py models``: the list of all networks, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssl_isda import cli
from ssl_isda.models import MODELS

PLUGIN = """
from ssl_isda import MODELS


@MODELS.register("of_vectors")
def of_vectors(config, *, num_classes, shape):
    (inputs,) = shape
"""


KEPT = ("resnet20", "linear", "densenet_bc_100_12", "torchvision")


@pytest.fixture(autouse=True)
def few_networks(monkeypatch) -> None:
    """The other networks' numbers stand in the tests of their sizes."""
    monkeypatch.setattr(MODELS, "_entries", {name: MODELS[name] for name in KEPT})


def test_json_is_a_list_of_objects(capsys) -> None:
    assert cli.main(["models", "--json"]) == 0
    networks = json.loads(capsys.readouterr().out)
    keys = ["name", "parameters", "multiply_adds", "features", "source"]
    assert all(list(network) == keys for network in networks)
    rows = [tuple(network.values())[:4] for network in networks]
    assert rows == [
        ("densenet_bc_100_12", 769_162, 287_929_692, 342),
        ("linear", 30_730, 30_720, 3072),
        ("resnet20", 272_474, 40_813_184, 64),
        ("torchvision", None, None, None),
    ]
    assert networks[2]["source"].startswith("He et al., Deep Residual Learning")
    assert networks[3]["source"].startswith("TorchVision maintainers")


def test_the_table_tells_the_same_and_leaves_out_what_does_not_apply(
    tmp_path: Path, capsys
) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    assert cli.main(["models", "--plugin", str(tmp_path / "mine.py")]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [row[0] for row in rows] == ["network", "---", *sorted([*KEPT, "of_vectors"])]
    assert rows[4] == ["of_vectors", "", "", "", ""]
    assert rows[5][:4] == ["resnet20", "272,474", "40,813,184", "64"]
