"""``run.py report`` and ``analyze comparison`` over a small folder of runs, letter by letter.

This records the snapshots anew; what ``git diff`` then shows is what users will see changed:

    python -m tests.ssl_isda.commands.test_report
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ssl_isda import __version__, cli
from ssl_isda.base.errors import OutputFailed
from ssl_isda.commands.report.command import command, report_files
from ssl_isda.commands.report.contents import Report
from ssl_isda.results.runs import find_runs
from tests.benchmarks.report import write_runs
from tests.synthetic_runs import ROOT, write_run, write_seeds

SNAPSHOTS = ROOT / "tests/snapshots/report"
CIFAR = ("--dataset", "cifar10", "--labels", "4000")
SMALL = (*CIFAR, "--width", "0.25", "--steps", "4000")
EVIL = "<script>alert(1)</script>_&%$x^2$\\input|`*]"


def report_of(runs: Path) -> Report:
    return Report(find_runs([runs]))


def write_example(runs: Path) -> None:
    """What a report may meet: whole cells and single seeds; failed, begun, damaged and odd runs."""
    write_seeds(runs, *CIFAR, last=[10.0, 12.0, 17.0])
    write_seeds(runs, *CIFAR, "--isda", last=[9.0, 10.5, 12.0])
    extra = {"validation_error": 20.0, "uncertainty_loss": 0.1, "agreement": 90.0, "other": 1.0}
    write_run(
        runs, *CIFAR, "--method", "pi_model", "--validation", extra=extra, selected_error=11.0
    )
    small = write_run(runs / "small", *SMALL, "--isda", "--lambda-0", "0.3", commit="abc-dirty")
    with open(small / "log.txt", "a") as log:
        log.write("2026-01-02 03:04:05 warning: the consistency term does not train\n")
    shutil.copytree(small, runs / "small copied" / small.relative_to(runs / "small"))
    svhn = ("--dataset", "svhn", "--labels", "500")
    write_run(runs, *svhn, "--method", "mean_teacher", state="failed", errors=[30.0])
    write_run(runs, *svhn, "--method", "mean_teacher", "--isda", state="unfinished", errors=[30.0])
    (write_run(runs, *svhn, "--seed", "1") / "metrics.jsonl").write_text("")
    (write_run(runs, "--dataset", "cifar100") / "config.yaml").write_text("seed: many\n")
    mine = ("--dataset", "folder", "--data-dir", EVIL.replace("/", "_"), "--labels", "20")
    odd = {"commit": EVIL, "device": EVIL, "versions": {EVIL: EVIL}, "command": [EVIL, "=1+1"]}
    odd |= {"class_names": [EVIL, "b"], "confusion": [[9, 1], [2, 2]]}
    (write_run(runs, *mine, **odd) / "split.json").unlink()
    counts = [[50 if i == j else int(j == 0) for j in range(30)] for i in range(29)]
    counts.append([0] * 30)  # a class without test images
    write_run(runs, *mine, "--method", "supervised", confusion=counts, top5_error=1.25)


def written() -> dict[str, str]:
    """The files of both commands from the folder ``runs``, by name; without version and pictures."""
    for words in ("report runs", "analyze comparison runs"):
        assert cli.main([*words.split(), "--out", "out"]) == 0
    files = {path.name: path.read_text("utf-8") for path in Path("out").iterdir()}
    page = files["report.html"].replace(f"ssl-isda {__version__}", "ssl-isda X")
    files["report.html"] = re.sub(r"data:image/svg\+xml;base64,[^\"]+", "PICTURE", page)
    return {name: text for name, text in files.items() if not name.endswith(".svg")}


def test_every_file_is_what_it_was(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    write_example(Path("runs"))
    before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")}
    found = written()
    assert found.keys() == {path.name for path in SNAPSHOTS.iterdir()}
    for name, text in found.items():
        assert text == (SNAPSHOTS / name).read_text("utf-8"), name
    assert {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")} == before
    assert capsys.readouterr().out.splitlines() == [
        "out/report.html: 15 runs in 9 cells: 10 finished, 1 unfinished, 1 failed, 2 damaged, "
        "1 repeated",
        "out: comparison.md, comparison.json, differences.svg",
    ]


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


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> dict[str, str]:
    """The files of its report, by name."""
    runs = tmp_path_factory.mktemp("example")
    write_example(runs)
    return report_files(report_of(runs))


def test_nothing_of_a_run_becomes_markup_and_nothing_is_fetched(
    example: dict[str, str],
) -> None:
    """Folder, class, version, commit, command and log hold what HTML, TeX and Markdown take amiss."""
    page = Page(example["report.html"])
    assert EVIL in page.text and not {"script", "iframe"} & {tag for tag, _ in page.tags}
    names = ("src", "href", "srcset", "action")
    links = [str(value) for _, attrs in page.tags for key, value in attrs.items() if key in names]
    assert links and all(link.startswith(("#", "data:")) for link in links)
    policies = [attrs["content"] for _, attrs in page.tags if "http-equiv" in attrs]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert "<script" not in example["report.md"]
    assert len(re.findall(r"(?<!\\)&", example["table.tex"].split(r"\hline")[1])) == 6


def test_the_pictures_show_what_was_logged_and_nothing_else(
    example: dict[str, str],
) -> None:
    images = [attrs for tag, attrs in Page(example["report.html"]).tags if tag == "img"]
    shown = [str(image["alt"]) for image in images]
    for meaning in ("Uncertainty loss", "Student and teacher agree", "Strength λ of ISDA"):
        assert f"{meaning} over the training, CIFAR-10, 4,000 labels" in shown
    assert not [alt for alt in shown if "ther over" in alt.replace("teacher", "")]
    for image in images:
        kind, _, data = str(image["src"]).partition(",")
        assert kind == "data:image/svg+xml;base64" and b"</svg>" in base64.b64decode(data)


# ---- runs that are not whole


def cell_texts(report: Report) -> dict[str, list[str]]:
    """By name of the cell: our value, the difference, and the remarks."""
    return {
        cell.name: [cell.in_words, cell.difference_in_words, *cell.remarks] for cell in report.cells
    }


@pytest.mark.fault(40)
def test_fault_40_one_seed_has_no_standard_deviation(tmp_path: Path) -> None:
    write_seeds(tmp_path, *CIFAR, last=[10.0])
    report = report_of(tmp_path)
    assert cell_texts(report) == {"VAT": ["10.00 (n = 1)", "-1.10", "single seed"]}
    for name, text in report_files(report).items():
        if name != "results.csv":
            assert "10.00 (n = 1)" in text and "nan" not in Page(text).text, name


@pytest.mark.fault(40)
def test_fault_40_failed_unfinished_and_missing_runs_are_named_and_in_no_mean(
    tmp_path: Path,
) -> None:
    write_seeds(tmp_path, *CIFAR, last=[10.0, 12.0])
    failed = write_run(tmp_path, *CIFAR, "--seed", "2", state="failed", errors=[1.0, 1.0, 1.0])
    begun = write_run(tmp_path, *CIFAR, "--seed", "3", state="unfinished", errors=[1.0])
    write_run(tmp_path, *CIFAR, "--isda", state="failed")
    report = report_of(tmp_path)
    assert cell_texts(report) == {
        "VAT": ["11.00 ± 1.41 (n = 2)", "-0.10", "unfinished: seed 3", "failed: seed 2"],
        "VAT + ISDA": ["no result", "", "failed: seed 0", "missing: seeds 1, 2, 3"],
    }
    assert report.comparisons[0].difference is None
    page = Page(report_files(report)["report.html"]).text
    why = f"{failed}: step 7: the supervised loss is nan (3 of 40 epochs done)"
    assert why in page and f"{begun}: 1 of 40 epochs done" in page


DAMAGE = {
    "config.yaml": [
        ("method: vat\nmethod: vat\n", "config.yaml:2: 'method' is set twice, first in line 1"),
        ("seed: many", "config.yaml:1: seed must be an integer, got 'many'"),
        ("!!python/object:os.system x", "tags such as"),
        ("seed: 1", "config.yaml names no method"),
        (b"\xff", "config.yaml"),
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


def test_a_damaged_run_is_named_and_stops_nothing(tmp_path: Path) -> None:
    write_run(tmp_path, *CIFAR, "--seed", "1")
    whole = write_run(tmp_path / "whole", *CIFAR, errors=[90.0, 10.0])
    expected = {}
    for name, cases in DAMAGE.items():
        for number, (content, problem) in enumerate(cases):
            folder = shutil.copytree(whole, tmp_path / f"{name}-{number}")
            (folder / name).unlink()
            if content is not None:
                data = content if isinstance(content, bytes) else content.encode()
                (folder / name).write_bytes(data)
            expected[f"{folder}: "] = problem
    shutil.rmtree(whole)
    report = report_of(tmp_path)
    cautions = report.cautions["Damaged runs, in no mean"]
    assert len(cautions) == len(expected)
    for folder, problem in expected.items():
        (caution,) = [each for each in cautions if each.startswith(folder)]
        assert problem in caution
    assert cell_texts(report)["VAT"][0] == "10.00 (n = 1)"
    page = Page(report_files(report)["report.html"]).text
    assert all(problem in page for problem in expected.values())


# ---- the command


def test_the_command_writes_over_older_files_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "runs", *CIFAR)
    monkeypatch.chdir(tmp_path)
    assert command([]) == 0
    assert capsys.readouterr().out == "report/report.html: 1 run in 1 cell: 1 finished\n"
    before = {path.name: path.read_bytes() for path in Path("report").iterdir()}
    assert before.keys() == {"report.html", "report.md", "results.csv", "table.tex"}
    assert command(["runs/cifar10-4000", "--out=report"]) == 0
    assert {path.name: path.read_bytes() for path in Path("report").iterdir()} == before
    Path("file").touch()
    for out, said in (("file", "is a file; a folder is needed"), ("file/x", "lies below a file")):
        assert cli.main(["report", "runs", "--out", out]) == 2
        assert said in capsys.readouterr().err


def test_the_same_runs_give_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    """With another hash seed and another time zone, and without torch."""
    write_run(tmp_path / "runs", *CIFAR, confusion=[[1, 2], [3, 4]])
    write_run(tmp_path / "runs", *CIFAR, "--isda")
    words = ["report", str(tmp_path / "runs"), "--out"]
    assert cli.main([*words, str(tmp_path / "1")]) == 0
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "UTC-2"}
    environment["PYTHONPROFILEIMPORTTIME"] = "1"
    child = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *words, str(tmp_path / "2")],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert " jinja2\n" in child.stderr and " torch\n" not in child.stderr
    for path in (tmp_path / "1").iterdir():
        assert (tmp_path / "2" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_full_disk_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "runs", *CIFAR)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputFailed, match="disk full"):
        command([str(tmp_path / "runs"), "--out", str(tmp_path / "report")])


@pytest.mark.slow
def test_the_page_of_many_runs_stays_small(tmp_path: Path) -> None:
    """40 cells with bands, drawn through 100 points as of 400 epochs; further seeds add rows only."""
    assert write_runs(tmp_path, num_epochs=100, seeds=range(2)) == 80
    page = report_files(report_of(tmp_path))["report.html"]
    assert len(re.findall(r"/seed[01]\b", page)) == 80
    assert len(page) + 160 * 1000 < 3_500_000


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        write_example(Path("runs"))
        for name, text in written().items():
            (SNAPSHOTS / name).write_text(text, "utf-8")
