"""``run.py analyze comparison`` and ``collect``: paired differences, their figures, kept results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import scipy.stats

from ssl_isda.base.errors import UsageError
from ssl_isda.commands.analyze.collect import KEPT, collect
from ssl_isda.commands.analyze.command import command
from ssl_isda.commands.analyze.comparison import Comparison, comparison_json, comparison_table
from ssl_isda.commands.analyze.comparison_figures import comparison_figures, curves_of
from ssl_isda.results.estimates import PairedDifference, paired_difference
from ssl_isda.results.runs import find_runs
from tests.commands import ROOT, WITHOUT_TORCH
from tests.synthetic_runs import write_run


def compared(runs: Path) -> Comparison:
    return Comparison(find_runs([runs]))


def write_seeds(runs: Path, *flags: str, last: list[float]) -> None:
    for seed, error in enumerate(last):
        write_run(runs, *flags, "--seed", str(seed), errors=[90.0, error])


def write_sensitivity(runs: Path) -> None:
    write_seeds(runs / "plain", last=[12.0, 13.0, 14.0])
    for number, strength in enumerate(("10.0", "0.25", "2.0")):
        errors = [11.0 + number, 12.5, 13.0 + number]
        write_seeds(runs / f"lambda_0={strength}", "--isda", "--lambda-0", strength, last=errors)


# ---- the difference


def test_a_paired_difference_by_hand(tmp_path: Path) -> None:
    """-2, -1, -1: mean -4/3, s = 1/sqrt(3), t_{0.975, 2} = 4.3027, half width 4.3027 / 3 = 1.4342."""
    write_seeds(tmp_path, last=[12.0, 13.0, 14.0])
    write_seeds(tmp_path, "--isda", last=[10.0, 12.0, 13.0])
    (effect,) = compared(tmp_path).effects
    assert effect.difference == PairedDifference(
        pytest.approx(-4 / 3), pytest.approx(1.43422, abs=1e-4), 3
    )
    assert str(effect.difference) == "-1.33 [-2.77, +0.10] (n = 3)"


def test_the_interval_is_scipys() -> None:
    isda, plain = [41.2, 39.8, 44.0, 42.9], [42.0, 41.1, 43.2, 43.3]
    found = paired_difference([a - b for a, b in zip(isda, plain, strict=True)])
    expected = scipy.stats.ttest_rel(isda, plain).confidence_interval(0.95)
    assert found is not None and found.interval == pytest.approx((expected.low, expected.high))


def test_one_pair_has_no_interval_and_a_worse_error_its_sign(tmp_path: Path) -> None:
    write_run(tmp_path, errors=[10.0])
    write_run(tmp_path, "--isda", errors=[10.5])
    (effect,) = compared(tmp_path).effects
    assert str(effect.difference) == "+0.50 (n = 1)"


def test_pairs_are_made_by_seed_not_by_order(tmp_path: Path) -> None:
    write_seeds(tmp_path, last=[10.0, 20.0, 30.0])
    write_run(tmp_path, "--isda", "--seed", "2", errors=[29.0])
    write_run(tmp_path, "--isda", "--seed", "7", errors=[1.0])
    found = compared(tmp_path)
    (effect,) = found.effects
    assert effect.differences == {2: -1.0}
    assert found.left_out == ["CIFAR-10, all labels, VAT + ISDA: seeds 0, 1, 7 in no pair"]


def test_other_labeled_images_make_no_pair(tmp_path: Path) -> None:
    write_seeds(tmp_path, last=[10.0, 20.0])
    write_seeds(tmp_path, "--isda", last=[9.0, 19.0])
    split = tmp_path / "cifar10-all/vat+isda/seed1/split.json"
    split.write_text(json.dumps({**json.loads(split.read_text()), "digest": "f" * 64}))
    found = compared(tmp_path)
    assert found.effects[0].differences == {0: -1.0}
    assert found.left_out == ["CIFAR-10, all labels, VAT + ISDA: seed 1 in no pair"]


def test_a_run_without_a_result_is_named_and_not_counted(tmp_path: Path) -> None:
    write_seeds(tmp_path, last=[10.0, 20.0])
    write_run(tmp_path, "--isda", errors=[9.0])
    write_run(tmp_path, "--isda", "--seed", "1", errors=[1.0], state="failed")
    table = comparison_table(compared(tmp_path))
    assert "9.00 (n = 1) | -1.00 (n = 1) |" in table
    assert "seed1: failed: step 7: the supervised loss is nan" in table


def test_a_cell_without_a_partner_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, "--isda")
    write_run(tmp_path, "--method", "pi_model")
    assert compared(tmp_path).left_out == [
        "CIFAR-10, all labels, Π-model: no cell with ISDA beside it",
        "CIFAR-10, all labels, VAT + ISDA: no cell without ISDA beside it",
    ]


# ---- settings that vary


def test_every_value_of_a_setting_is_a_row_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    write_sensitivity(tmp_path)
    names = [effect.name.partition(", VAT")[2] for effect in compared(tmp_path).effects]
    assert names == [f" + ISDA (lambda_0 {value})" for value in ("0.25", "2", "10")]
    numbers = json.loads(comparison_json(compared(tmp_path)))
    assert [row["settings"] for row in numbers] == [{"lambda_0": v} for v in (0.25, 2.0, 10.0)]
    assert numbers[0]["differences"] == {"0": 0.0, "1": -0.5, "2": 0.0}


def test_three_values_of_a_number_are_a_curve_and_the_other_cells_levels(tmp_path: Path) -> None:
    """As in Fig. 10: the number varies in one form, and one more cell has another form."""
    write_sensitivity(tmp_path)
    form = ("--isda", "--lambda-0", "0.5", "--covariance", "identity")
    write_seeds(tmp_path / "covariance=identity", *form, last=[30.0])
    (panel,) = compared(tmp_path).panels
    (curve,) = curves_of(panel)
    assert (curve.setting, curve.values) == ("lambda_0", (0.25, 2.0, 10.0))
    assert [effect.isda.settings["covariance"] for effect in curve.effects] == ["full"] * 3
    figure = comparison_figures(compared(tmp_path))["curves.svg"].decode()
    for text in ("without ISDA", "ISDA", "ISDA, covariance identity", "lambda_0"):
        assert f">{text}</text>" in figure


def test_a_curve_does_not_mix_the_levels_of_seeds(tmp_path: Path) -> None:
    """Seed 1 is harder by itself: a strength that has seed 0 alone is not the better one for that."""
    write_seeds(tmp_path / "plain", last=[30.0, 50.0])
    for strength, errors in (("0.25", [31.0]), ("0.5", [30.0, 50.0]), ("1", [30.0, 50.0])):
        write_seeds(tmp_path / strength, "--isda", "--lambda-0", strength, last=errors)
    (panel,) = compared(tmp_path).panels
    (curve,) = curves_of(panel)
    drawn = [e.difference.mean for e in curve.effects if e.difference]
    assert drawn == [1.0, 0.0, 0.0]
    figure = comparison_figures(compared(tmp_path))["curves.svg"].decode()
    assert ">test error, minus without ISDA (points)</text>" in figure


def test_words_make_no_curve(tmp_path: Path) -> None:
    write_run(tmp_path / "plain")
    for form in ("full", "diagonal", "shared", "identity"):
        write_run(tmp_path / form, "--isda", "--covariance", form)
    assert {*comparison_figures(compared(tmp_path))} == {"differences.svg"}


def test_without_any_pair_there_is_no_figure(tmp_path: Path) -> None:
    write_run(tmp_path)
    assert comparison_figures(compared(tmp_path)) == {}


DRAW = """
import sys
from ssl_isda.commands.analyze.command import command
sys.exit(command(["comparison", sys.argv[1], "--out", sys.argv[2]]))
"""


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    """In another process too, whose hashes are others."""
    write_sensitivity(tmp_path / "runs")
    assert command(["comparison", str(tmp_path / "runs"), "--out", str(tmp_path / "here")]) == 0
    there = [sys.executable, "-c", DRAW, str(tmp_path / "runs"), str(tmp_path / "there")]
    subprocess.run(there, check=True, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "7"})
    files = {path.name for path in (tmp_path / "here").iterdir()}
    assert files == {"comparison.md", "comparison.json", "differences.svg", "curves.svg"}
    for name in files:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


# ---- kept results


def test_what_is_kept_gives_the_same_table_without_weights(tmp_path: Path) -> None:
    runs, kept = tmp_path / "runs", tmp_path / "kept"
    write_sensitivity(runs)
    for folder in runs.rglob("seed*"):
        (folder / "checkpoint.pt").write_bytes(b"weights")
    assert collect(runs, kept) == (12, [])
    assert {path.name for path in kept.rglob("*") if path.is_file()} == {*KEPT}
    assert comparison_table(compared(kept)) == comparison_table(compared(runs))
    collect(runs, kept)  # over older copies
    assert len([*kept.rglob("result.json")]) == 12


def test_what_a_search_found_goes_with_its_runs(tmp_path: Path) -> None:
    write_run(tmp_path / "runs/search/lambda_0=1", errors=[9.0])
    found = tmp_path / "runs/search/digits-20/vat/search.json"
    found.parent.mkdir(parents=True)
    found.write_text("{}")
    assert collect(tmp_path / "runs", tmp_path / "kept") == (1, [])
    assert (tmp_path / "kept/search/digits-20/vat/search.json").read_text() == "{}"


def test_finished_and_failed_runs_are_kept_if_whole(tmp_path: Path) -> None:
    runs, kept = tmp_path / "runs", tmp_path / "kept"
    write_run(runs, errors=[9.0])
    write_run(runs, "--seed", "1", errors=[9.0], state="unfinished")
    write_run(runs, "--seed", "3", errors=[9.0], state="failed")
    wrong = write_run(runs, "--seed", "2", errors=[9.0])
    result = json.loads((wrong / "result.json").read_text())
    (wrong / "result.json").write_text(json.dumps({**result, "error": 1.0}))
    count, left = collect(runs, kept)
    assert count == 2 and {path.name for path in kept.rglob("seed*")} == {"seed0", "seed3"}
    assert any(
        "failed: step 7: the supervised loss is nan" in reason for reason in compared(kept).left_out
    )
    assert ["unfinished" in left[0], "damaged" in left[1]] == [True, True]


@pytest.mark.parametrize("out", ["runs", "runs/kept"])
def test_copies_are_not_put_among_the_runs(tmp_path: Path, out: str) -> None:
    write_run(tmp_path / "runs")
    with pytest.raises(UsageError, match="choose a place outside"):
        collect(tmp_path / "runs", tmp_path / out)


# ---- the command line

BAD = {
    "": "needs the name of an analysis: comparison, collect, tightness, cost",
    "comparson": "did you mean 'comparison'?",
    "comparison nowhere": "nowhere: no such folder",
    "comparison --oud=x": "unknown flag '--oud'",
    "collect": "needs one folder of runs",
    "collect nowhere": "needs --out",
}


@pytest.mark.parametrize("words", BAD)
def test_bad_words_end_in_one_line(words: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        command(words.split())
    assert BAD[words] in str(caught.value) and "\n" not in str(caught.value)


def test_help_and_a_table_need_no_torch(tmp_path: Path) -> None:
    write_run(tmp_path / "runs")
    write_run(tmp_path / "runs", "--isda")
    for words, expected in (
        (["--help"], "comparison   what ISDA changes"),
        (["collect", "--help"], "--out PATH"),
        (["comparison", "runs"], "| CIFAR-10, all labels, VAT + ISDA |"),
    ):
        child = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, "analyze", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert (child.returncode, child.stderr) == (0, "")
        assert expected in child.stdout
