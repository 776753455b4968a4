"""Every cell against a baseline: pairs, names, and what the tests of many rows come to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy.stats import ttest_rel

from ssl_isda import cli
from ssl_isda.base.errors import UsageError
from ssl_isda.commands.analyze.against import Against, baseline_of
from ssl_isda.results.estimates import holm, paired_p
from ssl_isda.results.runs import find_runs
from tests.synthetic_runs import write_run

RESNET = ("--dataset", "digits", "--method", "supervised", "--labels", "20", "--model", "resnet20")
TABLE_5 = ["loss=cross_entropy", "dropout=0", "isda=false"]
ERRORS = {
    (): [20.0, 22.0, 24.0],
    ("--isda",): [19.0, 20.5, 23.5],
    ("--loss", "focal"): [21.0, 22.5, 27.0],
    ("--loss", "focal", "--focal-gamma", "3"): [25.0, 25.0, 25.0],
    ("--dropout", "0.3"): [18.0, 21.0],
    ("--width", "0.5"): [30.0, 30.0, 30.0],
    ("--width", "0.5", "--loss", "lq"): [29.0, 30.0, 30.0],
}


def test_a_baseline_may_be_a_setting_that_is_not_set() -> None:
    assert baseline_of(["generated=none", "dropout=0"]) == {"generated": None, "dropout": 0}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for number, (flags, errors) in enumerate(ERRORS.items()):
        for seed, error in enumerate(errors):
            one = (*RESNET, *flags, "--seed", str(seed))
            write_run(tmp_path / "runs" / str(number), *one, errors=[error] * 4)
    return tmp_path / "runs"


def test_methods_may_have_views_that_their_baseline_lacks(tmp_path: Path) -> None:
    """FixMatch has a strong view; pixels that move further are another experiment with any method."""
    rows = {
        ("supervised",): 20.0,
        ("fixmatch",): 15.0,
        ("fixmatch", "--strong-operations", "3"): 14.0,
        ("supervised", "--max-translation", "3"): 19.0,
        ("fixmatch", "--max-translation", "3"): 11.0,
    }
    for place, (flags, error) in enumerate(rows.items()):
        one = ("--dataset", "digits", "--labels", "20", "--model", "mlp", "--method", *flags)
        write_run(tmp_path / str(place), *one, errors=[error] * 4)
    panels = Against(find_runs([tmp_path]), baseline_of(["method=supervised"])).panels
    found = [[effect.differences[0] for effect in panel.effects] for panel in panels]
    assert sorted(map(sorted, found)) == [[-8.0], [-6.0, -5.0]]
    panels = Against(find_runs([tmp_path]), baseline_of(["method=fixmatch"])).panels
    found = [[effect.differences[0] for effect in panel.effects] for panel in panels]
    assert sorted(map(sorted, found)) == [[5.0], [8.0]]  # two operations against three are no row


def test_rows_are_what_differs_from_the_baseline(runs: Path) -> None:
    compared = Against(find_runs([runs]), baseline_of(TABLE_5))
    found = {
        tuple(sorted(run.error for run in panel.plain.runs)): {
            effect.told: [*effect.differences.values()] for effect in panel.effects
        }
        for panel in compared.panels
    }
    assert found == {
        (20.0, 22.0, 24.0): {
            "isda on": [-1.0, -1.5, -0.5],
            "loss focal (focal_gamma 1)": [1.0, 0.5, 3.0],
            "loss focal (focal_gamma 3)": [5.0, 3.0, 1.0],
            "dropout 0.3": [-2.0, -1.0],
        },
        (30.0, 30.0, 30.0): {"loss lq": [-1.0, 0.0, 0.0]},
    }
    without = Against(find_runs([runs]), baseline_of(["loss=cross_entropy"]))
    assert "dropout 0.3): no cell with loss cross_entropy beside it" in "\n".join(without.left_out)


def test_the_command_writes_table_numbers_and_figure(runs: Path, capsys) -> None:
    out = runs.parent / "out"
    words = ["analyze", "comparison", str(runs), "--baseline", *TABLE_5]
    assert cli.main([*words, "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {
        *("comparison.md", "comparison.json", "differences.svg")
    }
    row = "| dropout 0.3 | 19.50 ± 2.12 (n = 2) | -1.50 \\[-7.85, +4.85\\] (n = 2) | 8.17 |  |  |"
    assert row in (out / "comparison.md").read_text("utf-8")
    numbers = {each["row"]: each for each in json.loads((out / "comparison.json").read_text())}
    focal = numbers["loss focal (focal_gamma 1)"]
    assert focal["p"] == pytest.approx(ttest_rel(*[ERRORS["--loss", "focal"], ERRORS[()]]).pvalue)
    assert numbers["isda on"]["p_holm"] == pytest.approx(3 * numbers["isda on"]["p"])
    assert "minus loss cross" in (out / "differences.svg").read_text("utf-8")


def test_holm_by_hand() -> None:
    assert holm([0.04, None, 0.01, 0.03, 0.9]) == [
        *(pytest.approx(0.09), None, pytest.approx(0.04), pytest.approx(0.09), pytest.approx(0.9))
    ]
    assert paired_p([1.0, 2.0]) is None and paired_p([1.0, 1.0, 1.0]) is None
    assert paired_p([6.1 - 5.1, 5.0 - 4.0, 7.3 - 6.3]) is None  # equal but for rounding


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("loss", "--baseline takes NAME=VALUE"),
        ("los=focal", "unknown setting 'los'; did you mean 'loss'?"),
        ("seed=1", "seed is no part of an experiment"),
        ("dropout=much", "--baseline dropout must be a number"),
    ],
)
def test_what_is_no_baseline_is_refused(word: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        baseline_of([word])
