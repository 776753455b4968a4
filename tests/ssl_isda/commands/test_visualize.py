"""``run.py visualize``: directions against an independent reference, and what the command leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_isda.commands.visualize.directions import furthest, principal
from tests.commands import CELL, SUPERVISED, answer, refusal

FILES = {"neighbours.png", "neighbours.html", "neighbours.json"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run without ISDA, and one with it."""
    place = tmp_path_factory.mktemp("runs")
    for isda in ([], ["--isda"]):
        assert answer([*SUPERVISED, *isda], place).code == 0
    return place


def test_principal_directions_are_those_of_numpys_decomposition() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 6)) * [3, 2, 1, 0.5, 0.1, 0]
    found = principal(torch.from_numpy(np.cov(rows.T, bias=True)), 6)
    _, singular, vectors = np.linalg.svd(rows - rows.mean(0))
    variances = singular**2 / 40
    assert found.vectors.shape == (5, 6)  # along the sixth there is no variance
    assert np.allclose(found.variances, variances[:5])
    assert np.allclose(found.shares, variances[:5] / variances.sum())
    assert np.allclose(np.abs(found.vectors.numpy() @ vectors[:5].T), np.eye(5), atol=1e-6)
    assert (found.vectors.gather(1, found.vectors.abs().argmax(1, keepdim=True)) > 0).all()


def test_furthest_each_way_and_never_both() -> None:
    features = torch.tensor([[0.0, 9.0], [4.0, 1.0], [1.0, 5.0], [-5.0, 2.0]]).double()
    far = furthest(features, torch.tensor([1.0, 0.0]).double(), 3)
    assert (far.below, far.above) == ([3, 0], [1, 2])
    deviation = features[:, 0].std(correction=0)
    assert far.distances_above == pytest.approx([float(4 / deviation), float(1 / deviation)])


@pytest.mark.parametrize(
    ("cell", "told"), [(CELL, "estimated from the features of the 1,347"), (CELL, "(full)")]
)
def test_neighbours_lie_where_the_numbers_say(place: Path, cell: Path, told: str) -> None:
    run = cell if told.startswith("est") else cell.parent.with_name("supervised+isda-mlp") / "seed0"
    words = ["--neighbours", "--out", "shown", "--class", "3", "--directions", "2"]
    said = answer(["visualize", str(run), *words], place)
    assert said.code == 0 and told in said.out
    assert {path.name for path in (place / "shown").iterdir()} == FILES
    numbers = json.loads((place / "shown/neighbours.json").read_text())
    assert told in numbers["covariances"]
    lines = numbers["directions"]
    assert [line["direction"] for line in lines] == [1, 2]
    assert lines[0]["variance"] >= lines[1]["variance"] > 0
    for line in lines:
        assert line["distances_below"] == sorted(line["distances_below"])
        assert line["distances_above"] == sorted(line["distances_above"], reverse=True)
    with Image.open(place / "shown/neighbours.png") as picture:
        assert picture.size[1] == 2 * 8 + 2 * 48 + 4
    assert (place / "shown/neighbours.html").read_text().count("<img") == 2 * 12


def test_what_cannot_be_shown_is_refused_in_one_line(place: Path) -> None:
    words = ["visualize", str(CELL), "--neighbours", "--out", "nothing", "--class", "11"]
    assert "has no class '11'; did you mean '1'?" in refusal(*words, cwd=place)
    assert not (place / "nothing").exists()
