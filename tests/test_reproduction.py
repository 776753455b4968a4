"""What docs/reproduction.md and the grids that it names promise."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
import yaml

from docs.site.results import rebuild
from ssl_isda import cli
from ssl_isda.commands.analyze.command import HELP
from ssl_isda.settings.resolve import resolve

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    python run\.py (.*)$", PAGE.replace("\\\n", ""), re.MULTILINE)
GRIDS = sorted((ROOT / "configs").glob("*_small.yaml"))
GRIDS.remove(ROOT / "configs/cifar10_small.yaml")
RESULTS = ROOT / "docs/results"
NOT_KEPT = ("comparison.json", "differences.svg")
"""What a comparison makes and no page shows."""
DRAWN_BY = "3.11.2"
"""The matplotlib of the kept figures."""


def test_every_analysis_and_every_grid_is_on_the_page() -> None:
    named = set(re.findall(r"analyze (\w+)", "\n".join(COMMANDS)))
    assert named == set(re.findall(r"^  (\w+)  ", HELP, re.MULTILINE))
    grids = set(re.findall(r"grid (configs/\S+)", "\n".join(COMMANDS)))
    small = {str(path.relative_to(ROOT)) for path in GRIDS}
    evidence = {name for name in grids if re.search(r"/(evidence_\w+|demo)\.yaml$", name)}
    assert grids == {*small, "configs/table6.yaml", *evidence} and len(small) == 5
    assert all((ROOT / name).is_file() for name in grids) and evidence


def test_every_decided_grid_is_named_on_the_page() -> None:
    """Run or not: what was decided is told."""
    for path in (ROOT / "configs").glob("evidence_*.yaml"):
        assert f"`{path.stem}`" in PAGE or f"grid configs/{path.name}" in PAGE, path.name
        assert "Decided before the runs" in path.read_text("utf-8")


def test_every_training_on_the_page_is_understood() -> None:
    trainings = [command for command in COMMANDS if command.startswith("--")]
    searches = [command.split(" ", 1)[1] for command in COMMANDS if command.startswith("search ")]
    assert len(trainings) == 3 and len(searches) == 2
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
    assert f"#   python run.py analyze collect {runs} --out {kept}/runs.jsonl\n" in text
    assert f"#   python run.py analyze comparison {kept}/runs.jsonl --out {kept}\n" in text
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


@pytest.fixture(scope="module")
def made_again(tmp_path_factory) -> Iterator[Path]:
    """A folder where ``make results`` ran on a copy of the pages and the kept results."""
    place = tmp_path_factory.mktemp("again")
    shutil.copytree(ROOT / "docs", place / "docs", ignore=shutil.ignore_patterns("notebooks"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert rebuild(Path("docs")) == 0
    yield place / "docs"


def kept(pattern: str) -> list[Path]:
    return [path for path in sorted((ROOT / "docs").glob(pattern)) if path.name not in NOT_KEPT]


def test_every_kept_table_and_figure_is_made_again_to_the_same_bytes(made_again: Path) -> None:
    """Figures by the version of matplotlib that drew them; another may place a letter otherwise."""
    made = [*kept("results/*/*.md"), *kept("results/*/*.json")]
    if matplotlib.__version__ == DRAWN_BY:
        made += [*kept("results/**/*.svg"), *kept("results/**/*.png")]
    assert len(made) > 15
    for path in [*made, *kept("*.md")]:
        again = made_again / path.relative_to(ROOT / "docs")
        assert again.read_bytes() == path.read_bytes(), again.name


def test_a_table_whose_results_change_is_made_anew(made_again: Path) -> None:
    """So that the test above could fail."""
    name = "results/ablation_small"
    file = made_again / name / "runs.jsonl"
    file.write_text(file.read_text().replace("4", "5"))
    before = (made_again / name / "comparison.md").read_bytes()
    words = ["analyze", "comparison", str(file), "--out", str(made_again / name)]
    assert cli.main(words) == 0
    assert (made_again / name / "comparison.md").read_bytes() != before


def test_every_kept_result_has_a_table_and_the_whole_is_small() -> None:
    for folder in {path.parent for path in kept("results/**/runs.jsonl")}:
        assert (folder / "comparison.md").is_file(), folder.name
    text = [*kept("results/**/*.jsonl"), *kept("results/**/*.json"), *kept("results/**/*.md")]
    assert sum(len(path.read_bytes().splitlines()) for path in text) <= 2000
    every = [path for path in kept("results/**/*") if path.is_file()]
    assert sum(path.stat().st_size for path in every) <= 3_000_000
