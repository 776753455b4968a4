"""What runs come to: cells beside the paper's, curves, classes and times, with numbers by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssl_isda.commands.report.contents import Report
from ssl_isda.results.cells import row_order
from ssl_isda.results.classes import classes_of
from ssl_isda.results.curves import MOST_POINTS, curve, metrics_of
from ssl_isda.results.estimates import Estimate
from ssl_isda.results.gathered import gathered
from ssl_isda.results.paper import figures
from ssl_isda.results.runs import find_runs
from ssl_isda.results.tables import Markup, Table, csv_table, latex_table, markdown_table
from ssl_isda.runs.metrics import TEST_ERROR
from tests.synthetic_runs import write_run, write_seeds

CIFAR = ("--dataset", "cifar10", "--labels", "4000")


def report_of(runs: Path) -> Report:
    return Report(find_runs([runs]))


def report_of_file(file: Path) -> Report:
    return Report(find_runs([file]))


# ---- what is averaged


def test_an_error_is_the_mean_of_the_last_epochs_not_the_last(tmp_path: Path) -> None:
    write_run(tmp_path, *CIFAR, errors=[50.0] * 30 + [9.0] * 9 + [19.0])
    (cell,) = report_of(tmp_path).cells
    assert str(cell.estimate) == "10.00 (n = 1)"
    assert cell.difference == pytest.approx(10 - 11.10)


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("--labels 4000 --imbalance 100", "4,000 labels, imbalance 100"),
        ("--labels-per-class 1", "1 label a class"),
        (
            "--label-fraction 0.125 --imbalance 10 --imbalance-unlabeled 1.5",
            "12.5 % of the labels, imbalance 10, 1.5 without labels",
        ),
        ("--dataset folder --test-fraction 0.2", "all labels, 20 % to test on"),
    ],
)
def test_other_amounts_have_a_column_of_their_own(tmp_path: Path, flags: str, name: str) -> None:
    dataset = () if "--dataset" in flags else ("--dataset", "cifar10")
    write_run(tmp_path / "a", *dataset, *flags.split())
    write_run(tmp_path / "b", *CIFAR)
    cells = {cell.column.labels_name: cell for cell in report_of(tmp_path).cells}
    assert cells.keys() == {name, "4,000 labels"}
    assert cells["4,000 labels"].papers and not cells[name].papers


def test_an_option_that_came_after_a_run_counts_as_its_default(tmp_path: Path) -> None:
    """In its settings file and among kept results alike."""
    for seed in ("0", "1"):
        write_run(tmp_path / "runs", *CIFAR, "--seed", seed)
    new, old = sorted((tmp_path / "runs").rglob("config.yaml"))
    lines = old.read_text().splitlines(keepends=True)
    before = [line for line in lines if "nesterov" not in line]
    assert len(before) == len(lines) - 1
    old.write_text("".join(before))
    whole = gathered(find_runs([new.parent]))
    kept = json.loads(gathered(find_runs([old.parent])))
    del kept["settings"]["nesterov"]
    (file := tmp_path / "kept.jsonl").write_text(whole + json.dumps(kept) + "\n")
    for place in (tmp_path / "runs", file):
        (cell,) = report_of(place).cells
        assert [run.settings["nesterov"] for run in cell.runs] == [True, True]


def test_rows_stand_in_the_order_of_their_numbers() -> None:
    sizes = ["features 16, steps 600", "features 16, steps 3,000", "features 128, steps 200"]
    rates = ["learning_rate 1e-05", "learning_rate 0.3", "learning_rate 10", "learning_rate unset"]
    for variants in (sizes, rates):
        rows = [("vat", False, variant) for variant in variants]
        assert sorted(sorted(rows), key=row_order) == rows


def test_isda_settings_do_not_divide_runs_without_isda(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("lambda_0: 0.25\n")
    write_run(tmp_path / "a", *CIFAR, "--seed", "0", "--config", str(mine))
    write_run(tmp_path / "b", *CIFAR, "--seed", "1")
    (cell,) = report_of(tmp_path).cells
    assert len(cell.finished) == 2


def test_a_folder_named_twice_is_read_once(tmp_path: Path) -> None:
    folder = write_run(tmp_path, *CIFAR)
    assert len(find_runs([tmp_path, folder, folder.parent / ".." / "vat"])) == 1
    file = tmp_path / "kept.jsonl"
    file.write_text(gathered(find_runs([folder])))
    assert len(find_runs([file, tmp_path / "cifar10-4000" / ".." / file.name])) == 1
    file.write_text(2 * file.read_text())
    (cell,) = report_of_file(file).cells
    assert [run.state for run in cell.runs] == ["finished", "repeated"]


def test_what_went_on_after_a_failure_or_was_killed_in_a_line_is_unfinished(tmp_path: Path) -> None:
    for seed, state in (("0", "failed"), ("1", "unfinished")):
        folder = write_run(tmp_path, *CIFAR, "--seed", seed, state=state)
        with open(folder / "log.txt", "a") as log:
            log.write("2026-01-02 03:04:05 resuming at step 5 of 9\n")
        with open(folder / "metrics.jsonl", "a") as file:
            file.write('{"epoch": 3, "test_')
    found = [(run.state, run.problem) for run in report_of(tmp_path).runs]
    assert found == [("unfinished", "2 of 40 epochs done")] * 2


def test_two_runs_on_a_side_are_not_tested(tmp_path: Path) -> None:
    write_seeds(tmp_path, *CIFAR, last=[12.0, 13.0, 14.0])
    write_seeds(tmp_path, *CIFAR, "--isda", last=[10.0, 10.5])
    (pair,) = report_of(tmp_path).comparisons
    assert pair.test is None and "fewer than 3" in pair.verdict
    assert pair.difference == pytest.approx(-2.75)


def test_what_makes_numbers_unlike_is_said(tmp_path: Path) -> None:
    write_run(tmp_path, *CIFAR, "--seed", "0", commit="abc-dirty")
    folder = write_run(tmp_path, *CIFAR, "--seed", "1", versions={"torch": "2.7.0"})
    split = json.loads((folder / "split.json").read_text())
    (folder / "split.json").write_text(json.dumps({**split, "digest": f"{0:064x}"}))
    other = write_run(tmp_path, *CIFAR, "--isda", "--seed", "0", commit="abc-dirty")
    (other / "split.json").write_text(json.dumps({**split, "checksum": "d"}))
    assert report_of(tmp_path).cautions["Not what it seems"] == [
        "runs of different commits: CIFAR-10, 4,000 labels (VAT)",
        "runs of different versions of torch: CIFAR-10, 4,000 labels (VAT)",
        "made with files that differ from the commit: CIFAR-10, 4,000 labels (VAT; VAT + ISDA)",
        "all seeds have the same labeled images: CIFAR-10, 4,000 labels (VAT)",
        "runs on different data (their checksums differ): CIFAR-10, 4,000 labels",
    ]


# ---- the paper


# Number of figures, their runs, sums of means and of deviations, taken from the text of the papers.
PRINTED = {
    "Table 2": (36, {3, 5}, 486.83, 7.04),
    "Table 1 of NeurIPS 2019": (4, {3}, 41.92, 0),
    "Table 4": (36, {3, 5}, 347.02, 4.56),
    "Table 5": (32, {3, 5}, 464.10, 5.74),
    "Table 6": (44, {5}, 948.68, 17.31),
    "Table 8": (12, {3, 5}, 158.90, 1.66),
}


@pytest.mark.parametrize("table", PRINTED)
def test_the_papers_figures_are_those_of_its_tables(table: str) -> None:
    found = [figure.error for figure in figures() if figure.table == table]
    means, stds = (sum(e.mean for e in found), sum(e.std or 0 for e in found))
    assert (len(found), {e.n for e in found}, round(means, 2), round(stds, 2)) == PRINTED[table]


def test_other_data_and_labels_are_not_compared(tmp_path: Path) -> None:
    write_run(tmp_path, "--dataset", "digits", "--labels", "1000")
    write_run(tmp_path, "--dataset", "cifar10", "--labels", "500")
    write_run(tmp_path, "--dataset", "folder", "--data-dir", "cifar10", "--labels", "4000")
    report = report_of(tmp_path)
    assert not report.papers and not report.has_deviations
    assert "cifar10 (folder), 4,000 labels" in [column.name for column in report.columns]


def test_the_papers_own_recipe_differs_in_nothing_and_other_settings_are_named(
    tmp_path: Path,
) -> None:
    cells = [("cifar10", "4000"), ("cifar100", "10000"), ("svhn", "500")]
    for dataset, labels in cells:
        write_run(tmp_path, "--dataset", dataset, "--labels", labels, "--isda")
    report = report_of(tmp_path)
    assert "Table 6, with" in report.papers and not report.has_deviations
    changed = {
        ("--width", "0.25"): "width 0.25 (paper: 1)",
        ("--steps", "4000"): "steps 4,000 (paper: 156,000)",
        ("--epochs", "9"): "epochs 9 (paper: 400)",
        ("--lambda-0", "0.3"): "lambda_0 0.3 (paper: 0.1 or 0.25 or 0.5 or 0.75 or 1)",
        ("--eta-1", "2"): "",
        ("--covariance", "identity"): "covariance identity (paper: full)",
        ("--preprocessing", "normalize"): "preprocessing normalize (paper: zca)",
        ("--momentum", "0.8"): "momentum 0.8 (paper: 0.9)",
        ("--no-flip",): "flip off (paper: on)",
        ("--epsilon", "9"): "",
        ("--threads", "1"): "",
    }
    for number, (flags, said) in enumerate(changed.items()):
        write_run(tmp_path / f"other{number}", *CIFAR, "--isda", *flags)
        (cell,) = report_of(tmp_path / f"other{number}").cells
        assert "; ".join(cell.deviations) == said


# ---- curves, classes, time


def test_curves_are_mean_and_deviation_of_each_epoch(tmp_path: Path) -> None:
    write_run(tmp_path, *CIFAR, "--seed", "0", errors=[50.0, 10.0])
    write_run(tmp_path, *CIFAR, "--seed", "1", errors=[60.0, 14.0])
    write_run(tmp_path, *CIFAR, "--seed", "2", errors=[1.0], state="failed")
    write_run(tmp_path, *CIFAR, "--isda", "--seed", "0", errors=[50.0, 40.0], state="unfinished")
    write_run(tmp_path, *CIFAR, "--isda", "--seed", "1", errors=[60.0], state="failed")
    finished, begun = (curve(c, TEST_ERROR, with_std=True) for c in report_of(tmp_path).cells)
    assert finished and begun
    assert (finished.steps, finished.means, finished.n) == ([390, 780], [55.0, 12.0], 2)
    assert finished.stds == pytest.approx([50**0.5, 8**0.5])
    assert (begun.means, begun.is_finished) == ([55.0], False)


def test_a_long_curve_keeps_its_ends(tmp_path: Path) -> None:
    write_run(tmp_path, *CIFAR, errors=[100 - epoch / 5 for epoch in range(400)])
    (cell,) = report_of(tmp_path).cells
    found = curve(cell, TEST_ERROR, with_std=True)
    assert found and len(found.steps) == MOST_POINTS
    assert (found.means[0], found.means[-1]) == (100.0, pytest.approx(20.2))


def test_what_is_logged_is_shown_in_the_order_of_the_table(tmp_path: Path) -> None:
    extra = {"gradient_norm_uncertainty": 0.1, "pseudo_label_accuracy": 80.0, "unheard_of": 1.0}
    write_run(tmp_path, *CIFAR, "--isda", extra={**extra, "uncertainty_loss": 1.0})
    metrics = metrics_of(report_of(tmp_path).cells)
    assert [metric.name for metric in metrics] == [
        *("test_error", "supervised_loss", "semantic_loss", "consistency_loss"),
        *("consistency_weight", "lambda", "learning_rate", "pseudo_label_accuracy"),
        *("uncertainty_loss", "gradient_norm_uncertainty"),
    ]
    assert metrics[-1].meaning == "Gradient of the uncertainty loss"


def test_classes_by_hand(tmp_path: Path) -> None:
    """Class 0: 10 % and 30 % wrong, so 20 ± 14.14; class 1: never and never."""
    write_run(tmp_path, *CIFAR, "--seed", "0", confusion=[[9, 1], [0, 4]])
    write_run(tmp_path, *CIFAR, "--seed", "1", confusion=[[7, 3], [0, 4]])
    write_run(tmp_path, *CIFAR, "--seed", "2")
    found = classes_of(report_of(tmp_path).cells[0])
    assert found and found.n == 2 and found.names == ("class 0", "class 1")
    assert found.shares == [[80.0, pytest.approx(20.0)], [0.0, 100.0]]
    assert found.errors[0] == Estimate(20.0, pytest.approx(200**0.5), 2)
    assert found.most_confused == [("class 0", "class 1", pytest.approx(20.0))]


@pytest.mark.parametrize("counts", [3, [[1, 2]], [[1, -2], [3, 4]], [[1, "x"], [2, 3]], [[], []]])
def test_a_strange_confusion_matrix_is_left_out_and_named(tmp_path: Path, counts: object) -> None:
    folder = write_run(tmp_path, *CIFAR)
    content = json.loads((folder / "result.json").read_text()) | {"confusion": counts}
    (folder / "result.json").write_text(json.dumps(content))
    report = report_of(tmp_path)
    assert "confusion matrix is not a square table" in report.cautions["Warnings in the logs"][0]
    assert classes_of(report.cells[0]) is None


# ---- tables


def test_each_format_shows_plain_text_as_it_stands() -> None:
    table = Table([["a|b <i>\n*c*", "=1"], [Markup(r"$\Pi$"), "Π & 50 %\n$x_1$ é 中"], [-1, None]])
    assert markdown_table(table).splitlines() == [
        r"| a\|b &lt;i&gt; \*c\* | =1 |",
        "| --- | --- |",
        r"| $\Pi$ | Π &amp; 50 % \$x\_1\$ é 中 |",
        "| -1 | None |",
    ]
    assert r"$\Pi$ & $\Pi$ \& 50 \% \$x\_1\$ e ? \\" in latex_table(table).splitlines()
    assert csv_table(Table([["-1", "=1", "a"], [-1.0, None, "b,"]])) == "'-1,'=1,a\n-1.0,,\"b,\"\n"
