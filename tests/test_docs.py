"""The site has every page, its parts say what the code says, and the notebook runs."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

import ssl_isda
from docs.site.commands import commands_reference, settings_reference
from docs.site.links import dead_links, unread_formulas
from docs.site.picture import pictures
from ssl_isda import METHODS, cli
from ssl_isda.settings.components import read_components
from ssl_isda.settings.config import RUN_SETTINGS
from tests.pages import ROOT

DOCS = ROOT / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
SHORT = {
    "start": (
        '"steps": 400',
        '"steps": 4, "width": 0.05, "threads": 1, "unlabeled_batch_size": 600',
    ),
    "estimator": ("steps=600", "steps=20"),
}
MADE = {"index.md", "changelog.md"}
"""Pages of the site that lie at the repository's top."""


def text(page: str) -> str:
    return (DOCS / page).read_text("utf-8")


def test_every_page_is_in_the_navigation() -> None:
    nav = re.search(r"^nav:\n(.*)", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M | re.S)
    assert nav
    found = [page for entry in yaml.safe_load(nav[1]) for page in _pages(entry)]
    notebooks = {f"notebooks/{path.stem}.md" for path in NOTEBOOKS}
    assert sorted(found) == sorted({*MADE, *notebooks, *(p.name for p in DOCS.glob("*.md"))})


def _pages(entry: dict[str, object]) -> list[str]:
    (below,) = entry.values()
    return [below] if isinstance(below, str) else [p for each in below for p in _pages(each)]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_an_empty_line_ends_every_table(page: Path) -> None:
    """Else the next line becomes a row of it."""
    assert not re.findall(r"^\|.*\n(?!\||\n).+", page.read_text("utf-8"), re.M)


def test_every_public_name_is_in_the_python_reference() -> None:
    page, registries = text("api.md"), {name for name in ssl_isda.__all__ if name.isupper()}
    shown = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)", page, re.M)}
    assert {*ssl_isda.__all__} - {"__version__"} - registries <= shown
    assert all(f"`{name}`" in page for name in registries)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_is_on_its_pages(name: str) -> None:
    assert f"| `{name}` |" in text("methods.md")
    assert f"::: ssl_isda.methods.{name}\n" in text("methods-reference.md")


def test_the_reference_of_commands_has_every_setting_option_and_command() -> None:
    settings, commands = settings_reference(), commands_reference()
    for setting in [*RUN_SETTINGS.values(), *(o for *_, o in read_components().options())]:
        name = setting.flag.removeprefix("--")
        assert re.search(rf"^`--(\[no-\])?{name}[ `]", settings, re.M), name
        assert setting.description.split(".")[0] in settings
    assert all(f"### {name}\n" in commands for name in cli.COMMANDS)
    assert "usage: python run.py analyze tightness" in commands


def test_the_pictures_are_those_of_their_script() -> None:
    for name, content in pictures().items():
        kept, made = (re.split(r"(-?\d+\.?\d*)", each) for each in (text(name), content))
        assert kept[::2] == made[::2]
        assert [float(k) for k in kept[1::2]] == pytest.approx([*map(float, made[1::2])], abs=0.2)


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ('<a href="nowhere/">x</a>', "nowhere/: there is no such file"),
        ('<a href="other.html#nowhere">x</a>', "other.html#nowhere: there is no such anchor"),
        ('<a href="#nowhere">x</a>', "#nowhere: there is no such anchor"),
        ('<img src="nowhere.png">', "nowhere.png: there is no such file"),
        ('<script src="https://cdn.org/x.js"></script>', "loaded from another place"),
        ("<p>.. math:: x</p>", "a formula that nobody has read"),
    ],
)
def test_what_is_dead_on_the_site_is_named(tmp_path: Path, html: str, problem: str) -> None:
    good = '<a id="here" href="#here">x</a><a href="sub/#there">x</a><a href="https://a.org">x</a>'
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/index.html").write_text('<h1 id="there"><a href="../other.html">x</a></h1>')
    (tmp_path / "other.html").write_text(good)
    assert dead_links(tmp_path) == unread_formulas(tmp_path) == []
    (tmp_path / "index.html").write_text(html)
    (line,) = [*dead_links(tmp_path), *unread_formulas(tmp_path)]
    assert line.startswith("index.html: ") and problem in line


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::Warning:(zmq|jupyter_client|nbclient|tornado).*")
def test_the_notebook_runs_and_was_kept_as_it_ran(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shortened; what is kept beside each cell comes from one run from top to bottom."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = nbformat.read(path, as_version=4)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    kept = [_kinds(cell) for cell in cells]
    assert sum(SHORT[path.stem][0] in cell.source for cell in cells) == 1
    for cell in cells:
        cell.source = cell.source.replace(*SHORT[path.stem])
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(book, timeout=120, resources=resources).execute()
    assert [_kinds(cell) for cell in cells] == kept


def _kinds(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell left: printed text, in however many pieces, a picture."""
    found = (out.get("data") or {out.output_type: 0} for out in cell.outputs)
    return sorted({kind for data in found for kind in data})
