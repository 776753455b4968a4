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


def rows_of_the_page() -> dict[int, str]:
    """The tests that the page names, by row."""
    named = {}
    for numbers, tests in re.findall(r"^\| (\d[\d, -]*) \|.*\|(.*)\|$", PAGE, re.M):
        first, _, last = numbers.partition(" - ")
        rows = range(int(first), int(last) + 1) if last else map(int, numbers.split(","))
        named |= dict.fromkeys(rows, tests)
    return named


def test_every_row_has_a_test() -> None:
    tested = set().union(*(marked_rows(path) for path in TESTS.values()))
    assert tested == set(range(1, 43))


def test_the_page_names_every_row_and_files_that_have_its_test() -> None:
    named = rows_of_the_page()
    assert named.keys() == set(range(1, 43))
    for row, tests in named.items():
        files = re.findall(r"`(test_\w+\.py)`", tests)
        assert set(files) <= TESTS.keys(), f"row {row}"
        assert any(row in marked_rows(TESTS[file]) for file in files), f"row {row}"
