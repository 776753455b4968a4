"""``run.py report``: what it says is what the runs' files hold, and no more."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from ssl_isda.base.errors import OutputFailed, UsageError
from ssl_isda.commands.report.command import command, report_files
from ssl_isda.commands.report.contents import Report, speed_of
from ssl_isda.results import latex, markdown
from ssl_isda.results.classes import classes_of
from ssl_isda.results.curves import MOST_POINTS, TEST_ERROR, curve, quantities_of
from ssl_isda.results.estimates import Estimate, estimate, welch
from ssl_isda.results.paper import TABLE_6
from ssl_isda.results.runs import find_runs
from ssl_isda.results.spreadsheet import harmless
from tests.benchmarks.report import write_runs
from tests.synthetic_runs import ROOT, write_run

CIFAR = ("--dataset", "cifar10", "--labels", "4000")
NUMBER = re.compile(r"([0-9.]+) ± ([0-9.]+)")


def report_of(runs: Path) -> Report:
    return Report(find_runs([runs]))


def entries(report: Report) -> dict[str, list[str]]:
    """By name of the cell: our value, the difference, and the remarks."""
    found = [entry for entry in report.entries.values() if entry.cell]
    return {e.cell.name: [e.ours, e.difference, *e.remarks] for e in found if e.cell}


def write_seeds(runs: Path, *flags: str, last: list[float]) -> None:
    """One run of four epochs for each of the ``last`` errors; a quarter of them counts: the last."""
    for seed, error in enumerate(last):
        write_run(runs, *flags, "--seed", str(seed), errors=[90.0, 60.0, 30.0, error])


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


# ---- numbers


def test_mean_and_standard_deviation_by_hand(tmp_path: Path) -> None:
    """(10 + 12 + 17) / 3 = 13; squares 9 + 1 + 16 = 26, / 2 = 13, root 3.606. Paper: 11.10."""
    write_seeds(tmp_path, *CIFAR, last=[10.0, 12.0, 17.0])
    assert entries(report_of(tmp_path)) == {"VAT": ["13.00 ± 3.61 (n = 3)", "+1.90"]}


def test_an_error_is_the_mean_of_the_last_epochs_not_the_last(tmp_path: Path) -> None:
    write_run(tmp_path, *CIFAR, errors=[50.0] * 30 + [9.0] * 9 + [19.0])
    assert entries(report_of(tmp_path))["VAT"][:2] == ["10.00 (n = 1)", "-1.10"]


@pytest.mark.parametrize("seed", range(5))
def test_welch_is_scipys(seed: int) -> None:
    draws = np.random.default_rng(seed)
    first, second = draws.normal(10, 1, 3 + seed).tolist(), draws.normal(11, 3, 4).tolist()
    test = welch(first, second)
    expected = scipy.stats.ttest_ind(first, second, equal_var=False)
    assert test is not None
    assert (test.t, test.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    assert test.degrees_of_freedom == pytest.approx(expected.df, rel=1e-9)


def test_there_is_no_welch_test_of_two_runs_or_of_equal_ones() -> None:
    assert welch([1.0, 2.0], [1.0, 2.0, 3.0]) is None
    assert welch([1.0, 1.0, 1.0], [2.0, 2.0, 2.0]) is None


def test_with_and_without_isda(tmp_path: Path) -> None:
    plain, isda = [12.0, 13.0, 14.0], [10.0, 10.5, 12.0]
    write_seeds(tmp_path, *CIFAR, last=plain)
    write_seeds(tmp_path, *CIFAR, "--isda", last=isda)
    (pair,) = report_of(tmp_path).comparisons
    expected = scipy.stats.ttest_ind(isda, plain, equal_var=False)
    assert pair.difference == pytest.approx(sum(isda) / 3 - 13)
    assert pair.verdict.startswith(f"p = {expected.pvalue:.3f} (t = {expected.statistic:.2f}, ")


def test_two_runs_on_a_side_are_not_tested(tmp_path: Path) -> None:
    write_seeds(tmp_path, *CIFAR, last=[12.0, 13.0, 14.0])
    write_seeds(tmp_path, *CIFAR, "--isda", last=[10.0, 10.5])
    (pair,) = report_of(tmp_path).comparisons
    assert pair.test is None and "fewer than 3" in pair.verdict
    assert (pair.plain.estimate, pair.isda.estimate) == (
        Estimate(13.0, 1.0, 3),
        Estimate(10.25, pytest.approx(0.5**0.5 / 2), 2),
    )


# ---- the paper


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "svhn"])
def test_the_papers_values_are_those_in_the_configs(dataset: str) -> None:
    """Both were typed from Table 6, each on its own."""
    text = (ROOT / "configs" / f"{dataset}.yaml").read_text(encoding="utf-8")
    header = re.search(r"#   labels(.*)", text)
    assert header
    labels = [int(word.replace(",", "")) for word in header[1].split()]
    rows = re.findall(r"#   (\w+) +(.*±.*)\n#     \+ ISDA +(.*±.*)", text)
    found = {
        (dataset, number, method, isda): (float(pair[0]), float(pair[1]))
        for method, *lines in rows
        for isda, line in zip((False, True), lines, strict=True)
        for number, pair in zip(labels, NUMBER.findall(line), strict=True)
    }
    assert found == {
        key: (value.mean, value.std) for key, value in TABLE_6.items() if key[0] == dataset
    }


def test_table_6_has_44_cells_of_five_runs() -> None:
    assert len(TABLE_6) == 44
    assert {value.n for value in TABLE_6.values()} == {5}


def test_other_data_and_labels_are_not_compared(tmp_path: Path) -> None:
    write_run(tmp_path, "--dataset", "digits", "--labels", "1000")
    write_run(tmp_path, "--dataset", "cifar10", "--labels", "500")
    write_run(tmp_path, "--dataset", "folder", "--data-dir", "cifar10", "--labels", "4000")
    report = report_of(tmp_path)
    assert not report.has_papers_values and "paper 1" not in report_files(report)["report.html"]
    assert "cifar10 (folder), 4,000 labels" in [column.name for column in report.columns]


def test_settings_that_are_not_the_papers_are_named(tmp_path: Path) -> None:
    write_run(tmp_path, *CIFAR, "--isda", "--width", "0.25", "--steps", "4000", "--lambda-0", "0.3")
    report = report_of(tmp_path)
    (caution,) = report.cautions["Settings that differ from the paper's recipe"]
    assert caution == (
        "width 0.25 (paper: 1); steps 4,000 (paper: 156,000); lambda_0 0.3 (paper: 0.1 or 0.25 or "
        "0.5 or 0.75 or 1): CIFAR-10, 4,000 labels (VAT + ISDA)"
    )
    assert "⚠" in report_files(report)["report.html"]


def test_the_papers_own_recipe_differs_in_nothing(tmp_path: Path) -> None:
    for dataset, labels in (("cifar10", "4000"), ("cifar100", "10000"), ("svhn", "500")):
        write_run(tmp_path, "--dataset", dataset, "--labels", labels, "--isda")
    report = report_of(tmp_path)
    assert report.has_papers_values and not report.has_deviations
    assert "⚠" not in report_files(report)["report.md"]


def test_columns_and_rows_stand_as_in_table_6(tmp_path: Path) -> None:
    for dataset, labels in (("digits", "20"), ("svhn", "500"), ("cifar10", "4000")):
        for flags in (["--method", "vat", "--isda"], ["--method", "pi_model"], []):
            write_run(tmp_path, "--dataset", dataset, "--labels", labels, *flags)
    report = report_of(tmp_path)
    assert [column.dataset for column in report.columns] == ["cifar10", "svhn", "digits"]
    assert [row[:2] for row in report.rows] == [("pi_model", False), ("vat", False), ("vat", True)]


# ---- missing, failed, single, odd runs


@pytest.mark.fault(40)
def test_fault_40_one_seed_has_no_standard_deviation(tmp_path: Path) -> None:
    write_seeds(tmp_path, *CIFAR, last=[10.0])
    report = report_of(tmp_path)
    assert entries(report) == {"VAT": ["10.00 (n = 1)", "-1.10", "single seed"]}
    assert estimate([3.0]) == Estimate(3.0, None, 1)
    for name, text in report_files(report).items():
        if name != "results.csv":
            assert "10.00 (n = 1)" in text, name
            assert "nan" not in Page(text).text, name


@pytest.mark.fault(40)
def test_fault_40_missing_seeds_are_named(tmp_path: Path) -> None:
    write_seeds(tmp_path, *CIFAR, last=[10.0, 11.0, 12.0])
    write_run(tmp_path, *CIFAR, "--isda", "--seed", "1")
    report = report_of(tmp_path)
    assert entries(report)["VAT + ISDA"][2:] == ["single seed", "missing: seeds 0, 2"]
    assert report.cautions["Seeds missing that other cells of the column have"] == [
        "seeds 0, 2: CIFAR-10, 4,000 labels (VAT + ISDA)"
    ]


@pytest.mark.fault(40)
def test_fault_40_failed_and_unfinished_runs_are_named_and_in_no_mean(tmp_path: Path) -> None:
    write_seeds(tmp_path, *CIFAR, last=[10.0, 12.0])
    failed = write_run(tmp_path, *CIFAR, "--seed", "2", state="failed", errors=[1.0, 1.0, 1.0])
    begun = write_run(tmp_path, *CIFAR, "--seed", "3", state="unfinished", errors=[1.0])
    report = report_of(tmp_path)
    assert entries(report)["VAT"] == [
        *("11.00 ± 1.41 (n = 2)", "-0.10", "unfinished: seed 3", "failed: seed 2")
    ]
    assert report.summary == "4 runs in 1 cell: 2 finished, 1 unfinished, 1 failed"
    for text in report_files(report).values():
        assert "failed: seed 2" in text or str(failed) in text
    page = Page(report_files(report)["report.html"]).text
    why = f"{failed}: step 7: the supervised loss is nan (3 of 40 epochs done)"
    assert why in page and f"{begun}: 1 of 40 epochs done" in page


@pytest.mark.fault(40)
def test_fault_40_a_cell_of_failed_runs_alone_has_no_number(tmp_path: Path) -> None:
    write_run(tmp_path, *CIFAR, state="failed")
    write_run(tmp_path, *CIFAR, "--isda")
    report = report_of(tmp_path)
    assert entries(report)["VAT"] == ["no result", "", "failed: seed 0"]
    assert report.cautions["Cells without a result"] == ["CIFAR-10, 4,000 labels, VAT"]
    assert report.comparisons[0].difference is None
    assert all(report_files(report).values())


def test_a_run_that_went_on_after_a_failure_has_not_failed(tmp_path: Path) -> None:
    folder = write_run(tmp_path, *CIFAR, state="failed")
    with open(folder / "log.txt", "a") as log:
        log.write("2026-01-02 03:04:05 resuming at step 5 of 9\n")
    assert report_of(tmp_path).runs[0].state == "unfinished"


def test_runs_of_other_settings_are_never_averaged(tmp_path: Path) -> None:
    write_seeds(tmp_path / "a", *CIFAR, last=[10.0, 12.0])
    write_seeds(tmp_path / "b", *CIFAR, "--width", "0.25", last=[20.0, 22.0])
    assert {name: found[0] for name, found in entries(report_of(tmp_path)).items()} == {
        "VAT (width 1)": "11.00 ± 1.41 (n = 2)",
        "VAT (width 0.25)": "21.00 ± 1.41 (n = 2)",
    }


def test_isda_settings_do_not_divide_runs_without_isda(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("lambda_0: 0.25\n")
    write_run(tmp_path / "a", *CIFAR, "--seed", "0", "--config", str(mine))
    write_run(tmp_path / "b", *CIFAR, "--seed", "1")
    (cell,) = report_of(tmp_path).cells
    assert len(cell.finished) == 2


def test_a_seed_counts_once(tmp_path: Path) -> None:
    """A copy would make n larger and the standard deviation smaller."""
    folder = write_run(tmp_path / "a", *CIFAR)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    report = report_of(tmp_path)
    assert entries(report)["VAT"][0] == "10.00 (n = 1)"
    (repeated,) = report.cautions["Runs that repeat a seed, in no mean"]
    assert repeated.endswith(f"the same experiment as {folder}")


def test_a_folder_named_twice_is_read_once(tmp_path: Path) -> None:
    folder = write_run(tmp_path, *CIFAR)
    assert len(find_runs([tmp_path, folder, folder.parent / ".." / "vat"])) == 1


DAMAGE = {
    "config.yaml": [
        ("method: vat\nmethod: vat\n", "config.yaml:2: 'method' is set twice, first in line 1"),
        ("seed: many", "config.yaml:1: seed must be an integer, got 'many'"),
        ("!!python/object:os.system x", "tags such as"),
        ("seed: 1", "config.yaml names no method"),
    ],
    "metrics.jsonl": [
        ("", "metrics.jsonl has 0 epochs, result.json 2"),
        ('{"epoch": 1, "test_error": 3}\n{"epoch"', "metrics.jsonl ends in the middle of a line"),
        ('{"epoch": 2}\n', "metrics.jsonl, line 1 is not epoch 1"),
        ("[" * 100_000 + "\n", "metrics.jsonl, line 1 is not valid JSON"),
        ("[]\n", "metrics.jsonl, line 1 is not a JSON object"),
        ('{"epoch": 1}\n{"epoch": 2}\n', "the error in result.json does not follow from"),
        ('{"epoch":1}\n{"epoch":2,"test_error":11}\n', "the error in result.json does not follow"),
        (None, "metrics.jsonl is missing"),
    ],
    "result.json": [
        ("{", "result.json is not valid JSON"),
        ('{"error": NaN}', "result.json holds no error from 0 to 100 %"),
        ('{"error": true}', "result.json holds no error from 0 to 100 %"),
        ('{"error": 1%s}' % ("0" * 400), "result.json holds no error from 0 to 100 %"),
        ('{"error": 10.0, "epochs": 2}', "does not say how many epochs its error averages"),
    ],
    "split.json": [
        ("{}", "split.json is not a split file"),
        ("\0", "split.json is not valid JSON"),
    ],
    "timing.jsonl": [("{}\n", "timing.jsonl, line 1 is not epoch 1")],
}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [(name, *case) for name, cases in DAMAGE.items() for case in cases],
)
def test_a_damaged_run_is_named_and_stops_nothing(
    tmp_path: Path, name: str, content: str | None, problem: str
) -> None:
    write_run(tmp_path, *CIFAR, "--seed", "1")
    folder = write_run(tmp_path, *CIFAR, "--seed", "0", errors=[90.0, 10.0])
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    report = report_of(tmp_path)
    (caution,) = report.cautions["Damaged runs, in no mean"]
    assert caution.startswith(f"{folder}: ") and problem in caution
    assert entries(report)["VAT"][0] == "10.00 (n = 1)"
    assert problem in Page(report_files(report)["report.html"]).text


def test_half_a_last_line_of_a_killed_run_is_no_damage(tmp_path: Path) -> None:
    folder = write_run(tmp_path, *CIFAR, state="unfinished")
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 3, "test_')
    (run,) = report_of(tmp_path).runs
    assert (run.state, run.problem) == ("unfinished", "2 of 40 epochs done")


def test_a_report_of_damaged_runs_alone_is_written(tmp_path: Path) -> None:
    folder = write_run(tmp_path, *CIFAR)
    (folder / "config.yaml").write_bytes(b"\xff")
    report = report_of(tmp_path)
    assert report.strays and all(report_files(report).values())


def test_what_makes_numbers_unlike_is_said(tmp_path: Path) -> None:
    write_run(tmp_path, *CIFAR, "--seed", "0", commit="abc-dirty")
    folder = write_run(tmp_path, *CIFAR, "--seed", "1", versions={"torch": "2.7.0"})
    split = json.loads((folder / "split.json").read_text())
    (folder / "split.json").write_text(json.dumps({**split, "digest": f"{0:064x}"}))
    write_run(tmp_path, *CIFAR, "--isda", "--seed", "0", commit="abc-dirty")
    other = tmp_path / "cifar10-4000/vat+isda/seed0"
    (other / "split.json").write_text(json.dumps({**split, "checksum": "d"}))
    with open(other / "log.txt", "a") as log:
        log.write("2026-01-02 03:04:05 warning: the consistency term does not train\n")
    cautions = report_of(tmp_path).cautions
    assert cautions["Not what it seems"] == [
        "runs of different commits: CIFAR-10, 4,000 labels (VAT)",
        "runs of different versions of torch: CIFAR-10, 4,000 labels (VAT)",
        "made with files that differ from the commit: CIFAR-10, 4,000 labels (VAT; VAT + ISDA)",
        "all seeds have the same labeled images: CIFAR-10, 4,000 labels (VAT)",
        "runs on different data (their checksums differ): CIFAR-10, 4,000 labels",
    ]
    assert cautions["Warnings in the logs"] == [f"{other}: the consistency term does not train"]


# ---- curves, classes, time


def test_curves_are_mean_and_deviation_of_each_epoch(tmp_path: Path) -> None:
    write_run(tmp_path, *CIFAR, "--seed", "0", errors=[50.0, 10.0])
    write_run(tmp_path, *CIFAR, "--seed", "1", errors=[60.0, 14.0])
    write_run(tmp_path, *CIFAR, "--seed", "2", errors=[1.0], state="failed")
    (cell,) = report_of(tmp_path).cells
    found = curve(cell, TEST_ERROR, with_std=True)
    assert found and (found.steps, found.means, found.n) == ([390, 780], [55.0, 12.0], 2)
    assert found.stds == pytest.approx([50**0.5, 8**0.5])


def test_a_cell_without_a_result_is_drawn_as_unfinished(tmp_path: Path) -> None:
    write_run(tmp_path, *CIFAR, "--seed", "0", errors=[50.0, 40.0], state="unfinished")
    write_run(tmp_path, *CIFAR, "--seed", "1", errors=[60.0], state="failed")
    (cell,) = report_of(tmp_path).cells
    found = curve(cell, TEST_ERROR, with_std=True)
    assert found and (found.means, found.is_finished) == ([55.0], False)


def test_a_long_curve_keeps_its_ends(tmp_path: Path) -> None:
    write_run(tmp_path, *CIFAR, errors=[100 - epoch / 5 for epoch in range(400)])
    (cell,) = report_of(tmp_path).cells
    found = curve(cell, TEST_ERROR, with_std=True)
    assert found and len(found.steps) == MOST_POINTS
    assert (found.means[0], found.means[-1]) == (100.0, pytest.approx(20.2))


def test_what_is_logged_is_shown_and_what_is_not_is_not(tmp_path: Path) -> None:
    extra = {"pseudo_label_accuracy": 80.0, "gradient_norm_semantic": 0.1, "unheard_of": 1.0}
    write_run(tmp_path, *CIFAR, "--isda", extra=extra)
    report = report_of(tmp_path)
    keys = [quantity.key for quantity in quantities_of(report.cells)]
    assert keys == [
        *("test_error", "supervised_loss", "semantic_loss", "consistency_loss"),
        *("consistency_weight", "lambda", "learning_rate", "pseudo_label_accuracy"),
        "gradient_norm_semantic",
    ]
    images = [
        attrs for tag, attrs in Page(report_files(report)["report.html"]).tags if tag == "img"
    ]
    assert len(images) == len(keys)
    assert all(str(image["src"]).startswith("data:image/svg+xml;base64,") for image in images)
    assert "Pseudo-labels that are right over the training, CIFAR-10, 4,000 labels" in [
        image["alt"] for image in images
    ]


def test_classes_by_hand(tmp_path: Path) -> None:
    """Class 0: 10 % and 30 % wrong, so 20 ± 14.14; class 1: never and never."""
    write_run(tmp_path, *CIFAR, "--seed", "0", confusion=[[9, 1], [0, 4]])
    write_run(tmp_path, *CIFAR, "--seed", "1", confusion=[[7, 3], [0, 4]])
    write_run(tmp_path, *CIFAR, "--seed", "2")
    report = report_of(tmp_path)
    found = classes_of(report.cells[0])
    assert found and found.n == 2 and found.names == ("class 0", "class 1")
    assert found.shares == [[80.0, pytest.approx(20.0)], [0.0, 100.0]]
    assert found.errors[0] == Estimate(20.0, pytest.approx(200**0.5), 2)
    assert found.most_confused == [("class 0", "class 1", pytest.approx(20.0))]
    assert "20.0 ± 14.1" in Page(report_files(report)["report.html"]).text


def test_many_classes_become_a_picture(tmp_path: Path) -> None:
    counts = [[50 if i == j else int(j == 0) for j in range(30)] for i in range(30)]
    write_run(tmp_path, *CIFAR, confusion=counts)
    page = Page(report_files(report_of(tmp_path))["report.html"])
    assert "Confusion matrix of VAT" in [attrs.get("alt") for _, attrs in page.tags]
    assert "class 1 taken for class 0 2.0 %" in page.text


@pytest.mark.parametrize("counts", [3, [[1, 2]], [[1, -2], [3, 4]], [[1, "x"], [2, 3]], [[], []]])
def test_a_strange_confusion_matrix_is_left_out_and_named(tmp_path: Path, counts: object) -> None:
    folder = write_run(tmp_path, *CIFAR)
    content = json.loads((folder / "result.json").read_text()) | {"confusion": counts}
    (folder / "result.json").write_text(json.dumps(content))
    report = report_of(tmp_path)
    assert "confusion matrix is not a square table" in report.cautions["Warnings in the logs"][0]
    assert "No confusion matrix was kept by: VAT" in report_files(report)["report.html"]


def test_time_and_speed(tmp_path: Path) -> None:
    write_run(tmp_path, *CIFAR, errors=[9.0] * 8)
    speed = speed_of(report_of(tmp_path).cells[0])
    assert (speed.seconds, speed.images_per_second) == (
        Estimate(16.0, None, 1),
        Estimate(640.0, None, 1),
    )
    assert speed.machine == "x86_64, 1 thread, bf16"


# ---- the files


def test_same_runs_same_bytes(tmp_path: Path) -> None:
    """In a process of its own, with another hash seed and another time zone."""
    write_run(tmp_path / "runs", *CIFAR, confusion=[[1, 2], [3, 4]])
    write_run(tmp_path / "runs", *CIFAR, "--isda")
    contents = []
    for number in ("1", "2"):
        out = tmp_path / number
        environment = {**os.environ, "PYTHONHASHSEED": number, "TZ": f"UTC-{number}"}
        arguments = ["report", str(tmp_path / "runs"), "--out", str(out)]
        subprocess.run(
            [sys.executable, str(ROOT / "run.py"), *arguments], env=environment, check=True
        )
        contents.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"report.html", "report.md", "results.csv", "table.tex"}


EVIL = "<script>alert(1)</script>_&%$x^2$\\input|`*]"


def test_nothing_of_a_run_becomes_markup(tmp_path: Path) -> None:
    """Folder, class, version, commit, command and log hold what HTML, TeX and Markdown take amiss."""
    flags = ("--dataset", "folder", "--data-dir", EVIL.replace("/", "_"), "--labels", "20")
    folder = write_run(
        tmp_path,
        *flags,
        confusion=[[1, 2], [3, 4]],
        commit=EVIL,
        device=EVIL,
        versions={EVIL: EVIL},
        command=[EVIL, "=1+1"],
    )
    content = json.loads((folder / "result.json").read_text()) | {"class_names": [EVIL, EVIL]}
    (folder / "result.json").write_text(json.dumps(content))
    with open(folder / "log.txt", "a") as log:
        log.write(f"2026-01-02 03:04:05 warning: {EVIL}\n")
    files = report_files(report_of(tmp_path))
    page = Page(files["report.html"])
    assert EVIL in page.text and not {"script", "iframe"} & {tag for tag, _ in page.tags}
    assert "<script" not in files["report.md"]
    tex = files["table.tex"]
    assert r"\textbackslash{}input" in tex and r"\_\&\%\$x\^{}2\$" in tex
    assert len(re.findall(r"(?<!\\)&", tex.split(r"\hline")[1])) == 2


def test_nothing_is_fetched_and_no_script_may_run(tmp_path: Path) -> None:
    write_run(tmp_path, *CIFAR)
    page = Page(report_files(report_of(tmp_path))["report.html"])
    links = [value for _, attrs in page.tags for key, value in attrs.items() if key in LINKS]
    assert links and all(str(link).startswith(("#", "data:")) for link in links)
    policies = [attrs["content"] for _, attrs in page.tags if "http-equiv" in attrs]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


LINKS = ("src", "href", "srcset", "action")


def test_escapes() -> None:
    assert latex.escaped("Π & 50 %\n$x_1$ é 中") == r"$\Pi$ \& 50 \% \$x\_1\$ e ?"
    assert markdown.escaped("a|b <i>\n*c*") == r"a\|b &lt;i&gt; \*c\*"
    assert [harmless(value) for value in ("=1", "-1", -1.0, "a")] == ["'=1", "'-1", -1.0, "a"]


def test_the_spreadsheet_has_a_row_for_each_run(tmp_path: Path) -> None:
    write_seeds(tmp_path, *CIFAR, "--width", "0.5", last=[10.0, 12.0])
    write_run(tmp_path, *CIFAR, "--seed", "2", state="failed", errors=[33.0])
    rows = list(csv.DictReader(io.StringIO(report_files(report_of(tmp_path))["results.csv"])))
    assert [(row["state"], row["error"], row["seed"], row["width"]) for row in rows] == [
        ("finished", "10.0", "0", "0.5"),
        ("finished", "12.0", "1", "0.5"),
        ("failed", "", "2", "1.0"),
    ]
    assert rows[0]["split_digest"] == f"{0:064x}" and rows[1]["epsilon"] == "8.0"


@pytest.mark.slow
def test_the_page_of_many_runs_stays_small(tmp_path: Path) -> None:
    """40 cells of 400 epochs with bands; more seeds than two only add rows, of 500 bytes each."""
    assert write_runs(tmp_path, num_epochs=400, seeds=range(2)) == 80
    page = report_files(report_of(tmp_path))["report.html"]
    assert len(re.findall(r"/seed[01]\b", page)) == 80
    assert len(page) + 160 * 1000 < 3_500_000


# ---- the command


def test_the_command_writes_four_files_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "runs", *CIFAR)
    monkeypatch.chdir(tmp_path)
    assert command([]) == 0
    assert capsys.readouterr().out == "report/report.html: 1 run in 1 cell: 1 finished\n"
    before = {path.name: path.read_bytes() for path in Path("report").iterdir()}
    assert command(["runs/cifar10-4000", "--out=report"]) == 0
    assert {path.name: path.read_bytes() for path in Path("report").iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["file"], "file: is a file; a folder is needed"),
        (["empty"], "no runs in empty; a run folder holds config.yaml and metrics.jsonl"),
        (["runs", "--ouT", "x"], "unknown flag '--ouT'; did you mean '--out'?"),
        (["runs", "--out"], "--out needs a value"),
        (["runs", "--out", ""], "--out must be a path, got nothing"),
        (["runs", "--out", "a", "--out", "b"], "--out is given twice: --out 'a', --out 'b'"),
        (["runs", "--out", "file"], "--out file is a file; a folder is needed"),
        (["runs", "--out", "file/below"], "--out file/below lies below a file"),
        ([""], "RUNS must be paths, got nothing"),
    ],
)
def test_wrong_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs"), *CIFAR)
    Path("empty").mkdir()
    Path("file").touch()
    with pytest.raises(UsageError, match=re.escape(problem)):
        command(arguments)


def test_a_full_disk_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "runs", *CIFAR)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputFailed, match="disk full"):
        command([str(tmp_path / "runs"), "--out", str(tmp_path / "report")])


def test_run_py_knows_the_command_and_answers_without_torch(tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
        process = subprocess.run(
            [sys.executable, str(ROOT / "run.py"), *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        imported = [line for line in process.stderr.splitlines() if line.startswith("import time")]
        assert imported and not [line for line in imported if line.endswith(" torch")]
        said = [line for line in process.stderr.splitlines() if line not in imported]
        return process.returncode, process.stdout, "\n".join(said)

    write_run(tmp_path / "runs", *CIFAR)
    assert run("report")[0] == 0
    assert "usage: python run.py report [RUNS ...] [--out DIR]" in run("report", "--help")[1]
    assert "python run.py report runs" in run("--help")[1]
    assert run("report", "nowhere") == (2, "", "run.py: nowhere: no such folder")
    assert "did you mean 'report'?" in run("reprot")[2]


def test_reading_changes_nothing(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", *CIFAR)
    before = {path: path.stat().st_mtime_ns for path in folder.parent.rglob("*")}
    command([str(tmp_path / "runs"), "--out", str(tmp_path / "report")])
    assert {path: path.stat().st_mtime_ns for path in folder.parent.rglob("*")} == before
