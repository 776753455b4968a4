"""``run.py analyze cost``: operations by hand, and times of steps with and without ISDA."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ssl_isda import cli
from ssl_isda.commands.analyze.cost import Case, Cost, Setup, measure
from ssl_isda.commands.analyze.cost_page import cost_files

N, A, C = 20, 6, 10  # images, features at width 0.05, classes
SETUP = Setup(N, 2, torch.device("cpu"), "fp32")


def measured(method: str) -> Cost:
    return measure(Case("cnn13", 0.05, method, C), SETUP)


@pytest.fixture(scope="module")
def supervised() -> Cost:
    return measured("supervised")


def test_operations_of_supervised_isda_by_hand(supervised: Cost) -> None:
    """Sigma: N A^2; Prop. 1: C differences times Sigma, C classes."""
    assert supervised.num_features == A
    assert supervised.added * N == N * A**2 + C * C * A**2


def test_operations_of_the_network_by_hand(supervised: Cost) -> None:
    """Nine convolutions on 32, 16 and 6 pixels a side, and the head."""
    a, b, c = 6, 13, 26
    first = 32**2 * 9 * (3 * a + a * a + a * a)
    second = 16**2 * 9 * (a * b + b * b + b * b)
    third = 6**2 * (9 * b * c + c * b + b * a)
    assert supervised.plain == first + second + third + A * C


def test_prop_2_multiplies_for_each_predicted_class(supervised: Cost) -> None:
    """W Sigma and (W Sigma) W^T for a class; predictions are spread over more than a few."""
    both = measured("temporal_ensembling")
    classes = (both.added - supervised.added) * N / (C * A**2 + C**2 * A)
    assert classes == pytest.approx(round(classes)) and 4 <= round(classes) <= C
    assert both.plain == 2 * supervised.plain


def test_the_papers_formula_gives_its_own_figures() -> None:
    """ResNet-110 has 64 features: 0.05 M with 10 classes and 0.41 M (the paper: 0.44 M) with 100."""
    found = [Cost(Case("", 1, "", c), 64, 1.0, 0.0, (1.0,)).formula for c in (10, 100)]
    assert found == [45_056, 413_696]


def test_time_is_the_median_of_ratios_with_quartiles(supervised: Cost) -> None:
    assert len(supervised.ratios) == 2 and min(supervised.ratios) > 0
    cost = Cost(Case("", 1, "", 10), 64, 1.0, 0.0, (1.0, 1.5, 1.1, 1.2, 1.05))
    assert cost.time == pytest.approx((5, 10, 20))


def test_the_table_holds_ours_and_the_papers(supervised: Cost) -> None:
    table = cost_files([supervised], "a machine")["cost.md"]
    assert "cnn13, width 0.05, supervised | 10 |" in table
    assert "| paper: ResNet-110, supervised | 100 | 254.20 | 0.44 | 0.17 | +2.94 |" in table


def test_the_papers_rows_stand_below_a_network_that_it_has(supervised: Cost) -> None:
    costs = [Cost(Case("wrn_16_8", 1, "supervised", c), 512, 1.0, 0.0, (1.0,)) for c in (10, 100)]
    rows = cost_files([*costs, supervised], "a machine")["cost.md"].splitlines()
    of_table = [row.split(",")[0].strip("| ") for row in rows if row.startswith("|")][2:]
    wide = ["wrn\\_16\\_8"] * 2 + ["paper: Wide-ResNet-16-8"] * 2
    assert of_table[:7] == [*wide, "cnn13", "paper: ResNet-32", "paper: ResNet-32"]
    assert len(of_table) == 3 + 2 * 9


def test_networks_and_trainings_can_be_chosen(capsys) -> None:
    before = torch.get_num_threads()
    words = "analyze cost --model mlp resnet20 --methods supervised --width 0.1 --batch-size 4"
    try:
        assert cli.main([*words.split(), "--rounds=1", "--threads=1", "--device=cpu"]) == 0
    finally:
        torch.set_num_threads(before)
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if ", width 0.1, supervised |" in line]
    assert [row.split(",")[0] for row in rows] == ["| mlp"] * 2 + ["| resnet20"] * 2
    assert "| paper: ResNet-32, supervised | 10 | 69.43 | 0.05 | 0.07 | +1.85 |" in lines


def test_the_command_measures_both_trainings_and_numbers_of_classes(tmp_path: Path, capsys) -> None:
    before = torch.get_num_threads()
    words = "analyze cost --width 0.05 --batch-size 4 --rounds 1 --threads 1 --device cpu --out"
    try:
        assert cli.main([*words.split(), str(tmp_path)]) == 0
    finally:
        torch.set_num_threads(before)
    costs = json.loads((tmp_path / "cost.json").read_text())["costs"]
    found = [(cost["case"]["method"], cost["case"]["num_classes"]) for cost in costs]
    assert found == [(m, c) for m in ("supervised", "temporal_ensembling") for c in (10, 100)]
    assert (tmp_path / "cost.md").read_text() in capsys.readouterr().out
    assert cli.main(["analyze", "cost", "--model", "cnn31"]) == 2
    assert "--model: unknown" in (said := capsys.readouterr().err) and "'cnn13'" in said
