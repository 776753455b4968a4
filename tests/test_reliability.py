"""docs/reliability.md keeps its word: every row has a test, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text("utf-8").partition("## Row by row")[2]
TESTS = {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}


def marked_rows(path: Path) -> set[int]:
    """The rows that the tests of a file are marked with; their names show in ``pytest -k fault``."""
    rows = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.FunctionDef):
            continue
        marks = [ast.unparse(decorator) for decorator in node.decorator_list]
        found = {
            int(row) for mark in marks for row in re.findall(r"pytest\.mark\.fault\((\d+)\)", mark)
        }
        assert not found or re.match(r"test_fault_\d+_", node.name), f"{path.name}: {node.name}"
        rows |= found
    return rows


def lines_of_the_page() -> dict[tuple[int, ...], list[str]]:
    """The files of tests that a line of the page names, by its rows."""
    named = {}
    for numbers, tests in re.findall(r"^\| (\d[\d, -]*) \|.*\|(.*)\|$", PAGE, re.M):
        first, _, last = numbers.partition(" - ")
        rows = range(int(first), int(last) + 1) if last else map(int, numbers.split(","))
        named[tuple(rows)] = re.findall(r"`(test_\w+\.py)`", tests)
    return named


def test_every_row_has_a_test() -> None:
    tested = set().union(*(marked_rows(path) for path in TESTS.values()))
    assert tested >= {*range(1, 48), 50, 55}


def test_the_page_names_every_row_and_files_that_have_its_test() -> None:
    named = lines_of_the_page()
    tested = set().union(*(marked_rows(path) for path in TESTS.values()))
    assert sorted(row for rows in named for row in rows) == sorted(tested)
    for rows, files in named.items():
        tested = {file: marked_rows(TESTS[file]) & {*rows} for file in files}
        assert all(tested.values()), f"{rows}: {[file for file in files if not tested[file]]}"
        assert set().union(*tested.values()) == {*rows}, f"{rows}: {tested}"
