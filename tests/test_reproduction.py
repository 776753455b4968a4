"""What docs/reproduction.md and the grids that it names promise."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from pathlib import Path

import matplotlib
import pytest
import yaml

from ssl_isda import cli
from ssl_isda.commands.analyze.command import HELP
from ssl_isda.settings.resolve import resolve

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    python run\.py (.*)$", PAGE.replace("\\\n", ""), re.MULTILINE)
GRIDS = sorted((ROOT / "configs").glob("*_small.yaml"))
GRIDS.remove(ROOT / "configs/cifar10_small.yaml")
RESULTS = ROOT / "docs/results"
COMPARISONS = sorted(RESULTS.glob("*/comparison"))
COMPARED = {
    "search_small": [
        "docs/results/table6_small/cifar10-1000",
        "docs/results/search_small/cifar10-1000",
    ]
}
"""Runs that are compared with those of another folder."""
DRAWN_BY = "3.11.2"
"""The matplotlib of the kept figures."""


def test_every_analysis_and_every_grid_is_on_the_page() -> None:
    named = set(re.findall(r"analyze (\w+)", "\n".join(COMMANDS)))
    assert named == set(re.findall(r"^  (\w+)  ", HELP, re.MULTILINE))
    grids = set(re.findall(r"grid (configs/\S+)", "\n".join(COMMANDS)))
    small = {str(path.relative_to(ROOT)) for path in GRIDS}
    assert grids == {*small, "configs/table6.yaml"} and len(small) == 5


def test_every_training_on_the_page_is_understood() -> None:
    trainings = [command for command in COMMANDS if command.startswith("--")]
    searches = [command.split(" ", 1)[1] for command in COMMANDS if command.startswith("search ")]
    assert len(trainings) == 7 and len(searches) == 2
    for command in [*trainings, *searches]:
        assert resolve(shlex.split(command)).config.method


def test_links_within_the_page_lead_to_its_headings() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", line).lower().replace(" ", "-")
        for line in re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    }
    targets = {*re.findall(r"\]\(#([^)]+)\)", PAGE)}
    assert targets and targets <= anchors


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_a_grid_says_how_it_is_run_and_read_and_has_a_folder_of_its_own(path: Path) -> None:
    text = path.read_text("utf-8")
    runs = f"runs/{path.stem}"
    assert f"#   python run.py grid configs/{path.name}\n" in text
    kept = f"docs/results/{path.stem}"
    assert f"#   python run.py analyze collect {runs} --out {kept}\n" in text
    assert f"#   python run.py analyze comparison {kept} --out {kept}/comparison\n" in text
    grid = yaml.safe_load(text)
    assert grid["settings"]["runs_dir"] == runs and (ROOT / grid["config"]).is_file()


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_a_grid_pairs_every_run_with_isda_with_one_without(path: Path) -> None:
    grid = yaml.safe_load(path.read_text("utf-8"))
    cells: dict[bool, set[tuple[str, int, int]]] = {False: set(), True: set()}
    for block in grid["runs"]:
        for isda in block["isda"]:
            cells[isda] |= {
                (m, n, s) for m in block["method"] for n in block["labels"] for s in block["seed"]
            }
    assert cells[True] == cells[False] and cells[True]


@pytest.mark.parametrize("kept", COMPARISONS, ids=lambda path: path.parent.name)
def test_the_kept_comparison_is_that_of_the_kept_runs(
    kept: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(ROOT)
    runs = COMPARED.get(kept.parent.name, [str(kept.parent.relative_to(ROOT))])
    assert cli.main(["analyze", "comparison", *runs, "--out", str(tmp_path)]) == 0
    for name in ("comparison.md", "comparison.json"):
        assert (tmp_path / name).read_bytes() == (kept / name).read_bytes()


@pytest.mark.parametrize(
    ("kept", "folders", "names"),
    [
        ("tightness", ["."], ["tightness.json", "tightness.md", "tightness.svg"]),
        ("cost", ["."], ["cost.json", "cost.md"]),
        ("tsne", ["vat", "vat+isda"], ["tsne.png"]),
    ],
)
def test_the_kept_tables_and_figures_are_drawn_from_the_kept_numbers(
    kept: str, folders: list[str], names: list[str], tmp_path: Path, monkeypatch
) -> None:
    """Figures by the version of matplotlib that drew them; another may place a letter otherwise."""
    monkeypatch.chdir(RESULTS / kept)
    assert cli.main(["analyze", "redraw", *folders, "--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in Path().iterdir() if path.is_file()) == names
    for name in names:
        if name.endswith((".json", ".md")) or matplotlib.__version__ == DRAWN_BY:
            assert (tmp_path / name).read_bytes() == Path(name).read_bytes(), name


def test_the_kept_report_is_that_of_the_kept_runs(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.main(["report", "docs/results/table6_small", "--out", str(tmp_path)]) == 0
    for name in ("report.md", "results.csv", "table.tex"):
        kept = RESULTS / "table6_small/report" / name
        assert (tmp_path / name).read_bytes() == kept.read_bytes()


def found_by_search(name: str, method: str) -> tuple[str, str]:
    """Validation and test error of one training of a search, as the page writes them."""
    cell = ROOT / "docs/results/search_small/search" / name / "cifar10-1000" / f"{method}+isda"
    result = json.loads((cell / "seed0/result.json").read_text())
    return f"{result['validation_error']:.2f}", f"{result['error']:.2f}"


def test_the_searches_on_the_page_are_those_of_the_kept_runs() -> None:
    strengths = ["0.1", "0.25", "0.5", "0.75", "1"]
    methods = ("pi_model", "temporal_ensembling", "mean_teacher", "vat")
    for method, strength in itertools.product(methods, strengths):
        names = [f"lambda_0={strength},eta_1={eta_1}" for eta_1 in ("0.5", "1", "2")]
        pairs = [found_by_search(name, method) for name in names]
        row = " | ".join(f"{validation} ({test})" for validation, test in pairs)
        assert f"| {strength} | {row} |" in PAGE
    found = [found_by_search(f"lambda_0={strength}", "supervised") for strength in strengths]
    for errors in zip(*found, strict=True):
        assert f" | {' | '.join(errors)} |" in PAGE


def test_what_each_search_chose_was_trained_and_stands_on_the_page() -> None:
    effects = json.loads((RESULTS / "search_small/comparison/comparison.json").read_text())
    searches = sorted(RESULTS.glob("search_small/search/cifar10-1000/*/search.json"))
    assert len(searches) == 5
    for path in searches:
        method = path.parent.name.removesuffix("+isda")
        chosen = json.loads(path.read_text())["chosen"]
        # An effect names those settings only in which a method's rows differ.
        of_method = [effect for effect in effects if effect["method"] == method]
        (effect,) = [e for e in of_method if e["settings"].items() <= chosen.items()]
        low, high = effect["interval"]
        mean = f"{effect['mean']:+.2f} \\[{low:+.2f}, {high:+.2f}\\] (n = {effect['n']})"
        assert effect["n"] == 3 and f"| {mean} | " in PAGE
