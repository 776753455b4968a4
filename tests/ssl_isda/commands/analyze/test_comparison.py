"""``run.py analyze comparison`` and ``collect``: pairs by seed, settings that vary, kept results."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from ssl_isda import cli
from ssl_isda.base.errors import UsageError
from ssl_isda.commands.analyze.collect import KEPT, collect
from ssl_isda.commands.analyze.comparison import Comparison
from ssl_isda.commands.analyze.comparison_figures import comparison_figures, curves_of
from ssl_isda.results.estimates import detectable_effect, interval_of_std, pairs_needed
from ssl_isda.results.gathered import gathered
from ssl_isda.results.runs import find_runs
from tests.synthetic_runs import write_run, write_seeds

BY_SEED = ("seeds", "errors", "losses", "splits")
NO_SETTINGS = '{"seeds": [], "errors": [], "losses": [], "splits": [], "settings": {}}'


def compared(runs: Path) -> Comparison:
    return Comparison(find_runs([runs]))


def write_sensitivity(runs: Path) -> None:
    write_seeds(runs / "plain", last=[12.0, 13.0, 14.0])
    for number, strength in enumerate(("10.0", "0.25", "2.0")):
        errors = [11.0 + number, 12.5, 13.0 + number]
        write_seeds(runs / f"lambda_0={strength}", "--isda", "--lambda-0", strength, last=errors)


# ---- pairs


def test_pairs_are_made_by_seed_not_by_order(tmp_path: Path) -> None:
    write_seeds(tmp_path, last=[10.0, 20.0, 30.0])
    write_run(tmp_path, "--isda", "--seed", "2", errors=[29.0])
    write_run(tmp_path, "--isda", "--seed", "7", errors=[1.0])
    found = compared(tmp_path)
    (effect,) = found.effects
    assert effect.differences == {2: -1.0} and str(effect.difference) == "-1.00 (n = 1)"
    assert found.left_out == ["CIFAR-10, all labels, VAT + ISDA: seeds 0, 1, 7 in no pair"]


def test_other_labeled_images_make_no_pair(tmp_path: Path) -> None:
    write_seeds(tmp_path, last=[10.0, 20.0])
    write_seeds(tmp_path, "--isda", last=[9.0, 19.0])
    split = tmp_path / "cifar10-all/vat+isda/seed1/split.json"
    split.write_text(json.dumps({**json.loads(split.read_text()), "digest": "f" * 64}))
    found = compared(tmp_path)
    assert found.effects[0].differences == {0: -1.0}
    assert found.left_out == ["CIFAR-10, all labels, VAT + ISDA: seed 1 in no pair"]


def test_a_pair_of_two_precisions_is_counted_and_named(tmp_path: Path) -> None:
    """In folders and in one file; a file that was kept before precisions were names none."""
    write_seeds(tmp_path / "runs", last=[10.0, 20.0])
    write_seeds(tmp_path / "runs", "--isda", last=[9.0, 19.0])
    write_run(tmp_path / "runs", "--seed", "2", errors=[30.0], precision="fp32")
    write_run(tmp_path / "runs", "--isda", "--seed", "2", errors=[29.0])
    file = tmp_path / "kept.jsonl"
    file.write_text(gathered(find_runs([tmp_path / "runs"])), "utf-8")
    doubt = "CIFAR-10, all labels, VAT + ISDA: seed 2 in bf16, the other side in fp32"
    for place in (tmp_path / "runs", file):
        assert compared(place).doubtful == [doubt]
        assert f"- {doubt}" in compared(place).table() and "(n = 3)" in compared(place).table()
    older = [
        {name: value for name, value in json.loads(line).items() if name != "precision"}
        for line in file.read_text("utf-8").splitlines()
    ]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in older), "utf-8")
    assert compared(file).doubtful == []


# ---- settings that vary


def test_every_value_of_a_setting_is_a_row_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    write_sensitivity(tmp_path)
    names = [effect.name.partition(", VAT")[2] for effect in compared(tmp_path).effects]
    assert names == [f" + ISDA (lambda_0 {value})" for value in ("0.25", "2", "10")]
    numbers = json.loads(compared(tmp_path).json())
    assert [row["settings"] for row in numbers] == [{"lambda_0": v} for v in (0.25, 2.0, 10.0)]
    assert numbers[0]["differences"] == {"0": 0.0, "1": -0.5, "2": 0.0}


def test_a_row_is_named_by_what_sets_it_apart(tmp_path: Path) -> None:
    """Not by the defaults of what others set, and where there are two plain cells by its own's."""
    rows = ((), ("--eta-1", "0.3"), ("--shrinkage", "0.5"), ("--covariance", "shared"))
    write_run(tmp_path / "plain")
    for place, words in enumerate(rows):
        write_run(tmp_path / str(place), "--isda", *words)
    ends = ["", " (covariance shared)", " (eta_1 0.3)", " (shrinkage 0.5)"]
    names = [effect.name.partition("VAT + ISDA")[2] for effect in compared(tmp_path).effects]
    assert sorted(names) == ends
    for isda in ((), ("--isda",)):
        write_run(tmp_path / f"narrow{isda}", "--features", "16", *isda)
    names = [effect.name.partition("VAT + ISDA")[2] for effect in compared(tmp_path).effects]
    wide = [end.replace(" (", " (features unset, ") or " (features unset)" for end in ends]
    assert sorted(names) == sorted([*wide, " (features 16)"])


def test_three_values_of_a_number_are_a_curve_and_the_other_cells_levels(tmp_path: Path) -> None:
    """As in Fig. 10: the number varies in one form, and one more cell has another form."""
    write_sensitivity(tmp_path)
    form = ("--isda", "--lambda-0", "0.5", "--covariance", "identity")
    write_seeds(tmp_path / "covariance=identity", *form, last=[30.0])
    (panel,) = compared(tmp_path).panels
    (curve,) = curves_of(panel)
    assert (curve.setting, curve.values) == ("lambda_0", (0.25, 2.0, 10.0))
    assert [effect.isda.settings["covariance"] for effect in curve.effects] == ["full"] * 3
    figures = comparison_figures(compared(tmp_path))
    texts = ("without ISDA", "ISDA", "ISDA, covariance identity", "lambda_0")
    for text in (*texts, "test error, minus without ISDA (points)"):
        assert f">{text}</text>" in figures["curves.svg"].decode()
    assert figures == comparison_figures(compared(tmp_path))


def test_curves_of_one_method_and_setting_share_a_panel(tmp_path: Path) -> None:
    write_sensitivity(tmp_path)
    for strength in ("0.25", "2.0", "10.0"):
        form = ("--isda", "--lambda-0", strength, "--covariance", "diagonal")
        write_seeds(tmp_path / f"diagonal{strength}", *form, last=[30.0])
    (panel,) = compared(tmp_path).panels
    assert len(curves_of(panel)) == 2
    drawn = comparison_figures(compared(tmp_path))["curves.svg"].decode()
    assert drawn.count(f">{panel.title}</text>") == 1
    assert all(f">{name}</text>" in drawn for name in ("ISDA", "ISDA, covariance diagonal"))


def test_a_curve_does_not_mix_the_levels_of_seeds(tmp_path: Path) -> None:
    """Seed 1 is harder by itself: a strength that has seed 0 alone is not the better one for that."""
    write_seeds(tmp_path / "plain", last=[30.0, 50.0])
    for strength, errors in (("0.25", [31.0]), ("0.5", [30.0, 50.0]), ("1", [30.0, 50.0])):
        write_seeds(tmp_path / strength, "--isda", "--lambda-0", strength, last=errors)
    (panel,) = compared(tmp_path).panels
    (curve,) = curves_of(panel)
    assert [e.difference.mean for e in curve.effects if e.difference] == [1.0, 0.0, 0.0]


def test_words_make_no_curve_and_without_pairs_there_is_no_figure(tmp_path: Path) -> None:
    write_run(tmp_path / "plain")
    assert comparison_figures(compared(tmp_path)) == {}
    for form in ("full", "diagonal", "shared", "identity"):
        write_run(tmp_path / form, "--isda", "--covariance", form)
    assert {*comparison_figures(compared(tmp_path))} == {"differences.svg"}


# ---- kept results


def test_what_is_kept_gives_the_same_table_without_weights(tmp_path: Path) -> None:
    runs, kept = tmp_path / "runs", tmp_path / "kept"
    write_sensitivity(runs)
    for folder in runs.rglob("seed*"):
        (folder / "checkpoint.pt").write_bytes(b"weights")
    assert collect(runs, kept) == (12, [])
    assert {path.name for path in kept.rglob("*") if path.is_file()} == {*KEPT}
    assert compared(kept).table() == compared(runs).table()
    collect(runs, kept)  # over older copies
    assert len([*kept.rglob("result.json")]) == 12


def test_finished_and_failed_runs_are_kept_if_whole_and_what_a_search_found(tmp_path: Path) -> None:
    runs, kept = tmp_path / "runs", tmp_path / "kept"
    write_run(runs, errors=[9.0])
    write_run(runs, "--seed", "1", errors=[9.0], state="unfinished")
    write_run(runs, "--seed", "3", errors=[9.0], state="failed")
    wrong = write_run(runs, "--seed", "2", errors=[9.0])
    result = json.loads((wrong / "result.json").read_text())
    (wrong / "result.json").write_text(json.dumps({**result, "error": 1.0}))
    (runs / "search/digits-20/vat").mkdir(parents=True)
    (runs / "search/digits-20/vat/search.json").write_text("{}")
    count, left = collect(runs, kept)
    assert count == 2 and {path.name for path in kept.rglob("seed*")} == {"seed0", "seed3"}
    assert any("failed: step 7: the supervised loss is nan" in s for s in compared(kept).left_out)
    assert ["unfinished" in left[0], "damaged" in left[1]] == [True, True]
    assert (kept / "search/digits-20/vat/search.json").read_text() == "{}"
    for out in (runs, runs / "kept"):
        with pytest.raises(UsageError, match="choose a place outside"):
            collect(runs, out)


# ---- power, and cells in one file


def test_p_is_corrected_for_all_rows_of_the_table(tmp_path: Path) -> None:
    """Differences of 1, 2, 3: s = 1, t = 2 sqrt(3), p = 0.0742; of -1, 0, 1: p = 1."""
    write_seeds(tmp_path / "plain", last=[10.0, 20.0, 30.0])
    write_seeds(tmp_path / "1", "--isda", "--lambda-0", "1", last=[11.0, 22.0, 33.0])
    write_seeds(tmp_path / "2", "--isda", "--lambda-0", "2", last=[9.0, 20.0, 31.0])
    write_seeds(tmp_path / "3", "--isda", "--lambda-0", "3", last=[9.0])
    lines = compared(tmp_path).table().splitlines()
    first, second, third = [line for line in lines if line.startswith("| CIFAR-10")]
    assert first.endswith(r"| +2.00 \[-0.48, +4.48\] (n = 3) | 3.26 | 0.148 |")
    assert second.endswith("(n = 3) | 3.26 | 1.000 |") and third.endswith("| -1.00 (n = 1) |  |  |")
    rows = json.loads(compared(tmp_path).json())
    assert [row["p"] for row in rows] == [pytest.approx(0.0742, abs=1e-4), 1.0, None]
    assert rows[0]["p_holm"] == 2 * rows[0]["p"]


def test_power_says_how_many_pairs_would_see_an_effect(tmp_path: Path, capsys) -> None:
    write_seeds(tmp_path, last=[12.0, 13.0, 14.0])
    write_seeds(tmp_path, "--isda", last=[11.0, 13.0, 13.0])
    assert cli.main(["analyze", "power", str(tmp_path), "--effect", "0.5"]) == 0
    std = statistics.stdev([-1.0, 0.0, -1.0])
    low, high = (pairs_needed(each, 0.5) for each in interval_of_std(std, 2))
    spread = r"0.58 \[0.30, 3.63\]"
    expected = f"| 3 | {spread} | {detectable_effect(std, 3):.2f} | {pairs_needed(std, 0.5)} "
    printed = capsys.readouterr().out
    assert expected + rf"\[{low}, {high}\] |" in printed and "pooled" not in printed
    write_seeds(tmp_path / "2", "--isda", "--lambda-0", "2", last=[11.0, 12.0, 13.0])
    write_seeds(tmp_path / "3", "--isda", "--lambda-0", "3", last=[11.0])
    assert cli.main(["analyze", "power", str(tmp_path), "--effect", "0.5"]) == 0
    *_, one_pair, pooled = capsys.readouterr().out.splitlines()
    assert one_pair.endswith("| 1 |  |  |  |")  # the others vary by 0.58 and by nothing
    assert pooled == f"| all rows, pooled |  | 0.41 |  | {pairs_needed(std / 2**0.5, 0.5)} |"
    assert cli.main(["analyze", "power", str(tmp_path), "--baseline", "isda=false"]) == 2
    assert "needs --effect" in capsys.readouterr().err


def test_cells_in_one_file_compare_as_their_runs_do(tmp_path: Path, capsys) -> None:
    write_sensitivity(tmp_path / "runs")
    ten = ("--isda", "--lambda-0", "10.0")
    write_run(tmp_path / "runs/failed", *ten, "--seed", "3", errors=[9.0], state="failed")
    file = tmp_path / "kept/cells.jsonl"
    assert cli.main(["analyze", "collect", str(tmp_path / "runs"), "--out", str(file)]) == 0
    assert "13 runs" in capsys.readouterr().out
    assert len(file.read_text("utf-8").splitlines()) == 5
    of_file, of_runs = Comparison(find_runs([file])), compared(tmp_path / "runs")
    assert of_file.table().splitlines()[:15] == of_runs.table().splitlines()[:15]
    assert of_file.json() == of_runs.json() and of_file.left_out[0].startswith(str(file))
    assert [line[-50:] for line in of_file.left_out] == [line[-50:] for line in of_runs.left_out]
    again = tmp_path / "again.jsonl"
    again.write_text(gathered(find_runs([file])), "utf-8")
    assert again.read_bytes() == file.read_bytes()


def test_runs_of_one_file_pair_with_those_of_folders(tmp_path: Path) -> None:
    """The file keeps a part of a split's digest."""
    write_seeds(tmp_path / "runs", last=[10.0, 20.0])
    write_seeds(tmp_path / "others", "--isda", last=[9.0, 19.0])
    for digest, folder in ("ab" * 32, "runs"), ("ab" * 32, "others"):
        for split in (tmp_path / folder).rglob("split.json"):
            split.write_text(json.dumps({**json.loads(split.read_text()), "digest": digest}))
    file = tmp_path / "kept.jsonl"
    file.write_text(gathered(find_runs([tmp_path / "runs"])), "utf-8")
    (effect,) = Comparison(find_runs([file, tmp_path / "others"])).effects
    assert effect.differences == {0: -1.0, 1: -1.0}


def test_where_the_miou_is_better_follows_what_runs_are_judged_by(tmp_path: Path, capsys) -> None:
    for number, flags in enumerate(((), ("--isda",), ("--isda", "--lambda-0", "2"))):
        for seed in "01":
            folder = write_run(tmp_path / str(number), *flags, "--seed", seed)
            for file, name in ("metrics.jsonl", "test_error"), ("result.json", "error"):
                text = (folder / file).read_text()
                renamed = text.replace(f'{name}"', f'{name.replace("error", "mean_iou")}"')
                (folder / file).write_text(renamed)
    words = [str(tmp_path), "--columns", "lambda_0"]
    assert cli.main(["analyze", "comparison", *words]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Test mIoU in %" in told and "positive where ISDA helps" in told
    assert cli.main(["analyze", "power", str(tmp_path), "--effect", "1"]) == 0
    assert "1 points of test mIoU" in capsys.readouterr().out


def test_a_grid_that_was_run_in_parts_comes_together_in_one_file(tmp_path: Path, capsys) -> None:
    whole, parts, file = tmp_path / "whole", tmp_path / "parts", tmp_path / "kept.jsonl"
    for seed in range(4):
        for isda in ([], ["--isda"]):
            words = (*isda, "--seed", str(seed))
            write_run(whole / f"{seed}{isda}", *words, errors=[9.0 + seed])
            write_run(parts / str(seed > 1) / f"{seed}{isda}", *words, errors=[9.0 + seed])
    write_run(parts / "True/again", "--seed", "0", errors=[99.0])
    first, second = str(parts / "False"), str(parts / "True")
    assert cli.main(["analyze", "collect", first, "--out", str(file)]) == 0
    assert cli.main(["analyze", "collect", str(file), second, "--out", str(file)]) == 0
    assert "the same experiment as" in (told := capsys.readouterr().out) and "8 runs" in told
    assert file.read_text("utf-8") == gathered(find_runs([whole]))
    once = file.read_text("utf-8")
    file.write_text(2 * once, "utf-8")  # as an editor may leave it
    assert cli.main(["analyze", "collect", str(file), "--out", str(file)]) == 0
    lines = [{**json.loads(line)} for line in once.splitlines()]
    lines[0] = {n: 2 * v if n in BY_SEED else v for n, v in lines[0].items()}  # in one line
    assert file.read_text("utf-8") == once
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    assert cli.main(["analyze", "collect", str(file), "--out", str(file)]) == 0
    assert file.read_text("utf-8") == once


def test_a_setting_can_be_the_columns_of_the_table(tmp_path: Path, capsys) -> None:
    """Differences of -1, -1.1, ..., -1.4 have t = -17 and p < 0.001; those of lambda_0 = 2 cancel."""
    write_seeds(tmp_path / "plain", last=[10.0, 11.0, 12.0, 13.0, 14.0])
    one = [9.0, 9.9, 10.8, 11.7, 12.6]
    write_seeds(tmp_path / "1", "--isda", "--lambda-0", "1", last=one)
    write_seeds(tmp_path / "2", "--isda", "--lambda-0", "2", last=[11.0, 10.0, 12.0])
    diagonal = ("--isda", "--lambda-0", "2", "--covariance", "diagonal")
    write_run(tmp_path / "diagonal", *diagonal, errors=[9.0], state="failed")
    words = ["analyze", "comparison", str(tmp_path), "--columns"]
    assert cli.main([*words, "lambda-0"]) == 0
    head, _, first, second, *_ = [s for s in capsys.readouterr().out.splitlines() if s[:1] == "|"]
    assert head == r"| data, method | without ISDA | lambda\_0 1 | lambda\_0 2 |"
    seen = f"({detectable_effect(statistics.stdev([0, 0.1, 0.2, 0.3, 0.4]), 5):.2f})"
    assert first.endswith(
        f"VAT + ISDA | 12.00 | **-1.20 ± 0.20** {seen} | +0.00 ± 2.48 (3.26), n = 3 |"
    )
    assert second.endswith("(covariance diagonal) | 12.00 |  | failed |")
    assert cli.main([*words, "eta_1"]) == 2
    assert "they differ in covariance, lambda_0" in capsys.readouterr().err
    assert cli.main([*words, "lambda_0", "--baseline", "isda=false"]) == 2


def test_a_table_says_at_which_training_loss_its_cells_stopped(tmp_path: Path, capsys) -> None:
    """The mean over the seeds of the last epoch's, in every kind of row, from folders and one file."""
    for isda, losses in ((), (0.01, 0.03)), (("--isda",), (0.5, 0.56)):
        for seed, loss in enumerate(losses):
            extra = {"supervised_loss": loss}
            write_run(tmp_path / "runs", *isda, "--seed", str(seed), errors=[9.0], extra=extra)
    file = tmp_path / "kept.jsonl"
    assert cli.main(["analyze", "collect", str(tmp_path / "runs"), "--out", str(file)]) == 0
    for place in (tmp_path / "runs", file):
        words = ["analyze", "comparison", str(place), "--training-loss"]
        ends = [("0.0200, 0.530", []), ("0.0200", ["--baseline", "isda=false"])]
        for end, more in ends:
            assert cli.main([*words, *more]) == 0
            told = capsys.readouterr().out
            assert "with ISDA the bound of Prop. 1" in told and "| training loss" in told
            rows = [line for line in told.splitlines() if line.startswith("|")]
            assert rows[2].endswith(f"{end} |")
    assert rows[3].endswith(" | 0.530 |")
    assert cli.main(["analyze", "comparison", str(file)]) == 0
    assert "training loss" not in capsys.readouterr().out.lower()
    assert cli.main([*words, "--columns", "lambda_0"]) == 2
    assert "--training-loss adds to rows" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", NO_SETTINGS, "\xff"])
def test_a_file_that_holds_no_cells_is_told_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "cells.jsonl").write_text(text, "latin-1")
    with pytest.raises(UsageError, match=r"cells.jsonl") as caught:
        find_runs([tmp_path / "cells.jsonl"])
    assert "\n" not in str(caught.value)
