"""``make results``: every table and figure of docs/results again, from the results that are kept there.

The commands are those of the pages themselves: each ``analyze comparison`` and ``analyze redraw`` of
something in docs/results. A page that shows a table of docs/results names its file above it,

    <!-- results/evidence_digits/comparison.md -->

and gets its lines from there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from ssl_isda import cli

_COMMAND = re.compile(r"^    python run\.py (analyze (?:comparison|redraw) docs/results/.*)$", re.M)
_CONTINUED = re.compile(r"\\\n *")
_SHOWN = re.compile(r"(<!-- (results/\S+\.md) -->\n\n)(?:\|.*\n+)*")
_TABLE = re.compile(r"(?:^\|.*\n)+", re.M)


def commands(pages: Path) -> Iterator[list[str]]:
    """Those of the pages in the folder ``pages``, each once, without the words ``python run.py``."""
    texts = (_CONTINUED.sub("", page.read_text("utf-8")) for page in sorted(pages.glob("*.md")))
    found = dict.fromkeys(command for text in texts for command in _COMMAND.findall(text))
    for command in found:
        yield shlex.split(command, comments=True)


def with_tables(text: str, pages: Path) -> str:
    """The text of a page whose tables are those of the files that it names."""

    def table(found: re.Match[str]) -> str:
        tables = _TABLE.findall((pages / found[2]).read_text("utf-8"))
        return found[1] + "".join(f"{each}\n" for each in tables)

    return _SHOWN.sub(table, text)


def rebuild(pages: Path) -> int:
    """Run the commands in the current folder, then put the tables into the pages; the worst exit code."""
    code = max(cli.main(command) for command in commands(pages))
    for page in sorted(pages.glob("*.md")):
        text = page.read_text("utf-8")
        if (new := with_tables(text, pages)) != text:
            page.write_text(new, "utf-8")
    return code


if __name__ == "__main__":
    raise SystemExit(rebuild(Path("docs")))
