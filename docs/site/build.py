"""The pages of docs/ as a site: ``make docs``, or ``python -m docs.site.build``.

The pages are gathered in build/pages: README.md as the first, the files of docs/, the notebook with its
output, and the command line's reference from the settings. Zensical makes build/html of them, with the
Python reference from the docstrings. A dead link, a missing picture or a missing reference ends the build
with exit code 1.
"""

from __future__ import annotations

import importlib.resources
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from docs.site.commands import commands_reference, settings_reference
from docs.site.links import dead_links, unread_formulas
from docs.site.notebooks import write_page

ROOT = Path(__file__).resolve().parents[2]
PAGES, PACKAGE, SITE = (ROOT / "build" / name for name in ("pages", "package", "html"))
SHOWN_RESULTS = (".md", ".svg", ".png", ".html")
"""Of the kept results: what pages link to. Metrics and logs stay in the repository."""
MATH_FONT = importlib.resources.files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf"
"""Browsers draw formulas well in a font with a table for them alone, and not every system has one."""
PARTS = {"<!-- settings -->": settings_reference, "<!-- commands -->": commands_reference}
"""Where docs/commands.md wants what is made here."""


def gather() -> None:
    """All that the generator reads, in build/."""
    for folder in (PAGES, PACKAGE, SITE):
        shutil.rmtree(folder, ignore_errors=True)
    PAGES.mkdir(parents=True)
    for path in [*(ROOT / "docs").glob("*.*"), ROOT / "docs/site/style.css"]:
        shutil.copy(path, PAGES)
    shutil.copy(str(MATH_FONT), PAGES)
    for path in (ROOT / "docs/results").rglob("*"):
        if path.suffix in SHOWN_RESULTS:
            target = PAGES / path.relative_to(ROOT / "docs")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    for path in (ROOT / "docs/notebooks").glob("*.ipynb"):
        write_page(path, PAGES / "notebooks" / f"{path.stem}.md")
    _write_first_page()
    _link_notebooks()
    _fill(PAGES / "commands.md")
    _gather_package()


def _write_first_page() -> None:
    """README.md, whose links begin in docs/."""
    text = (ROOT / "README.md").read_text("utf-8")
    text = re.sub(r"\]\(docs/", "](", re.sub(r"\[docs/", "[", text))
    text = text.replace("](CHANGELOG.md)", "](changelog.md)")
    (PAGES / "index.md").write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "CHANGELOG.md", PAGES / "changelog.md")


def _link_notebooks() -> None:
    """On the site a notebook is a page."""
    for path in PAGES.glob("*.md"):
        text = path.read_text("utf-8")
        path.write_text(text.replace(".ipynb)", ".md)"), encoding="utf-8")


def _fill(page: Path) -> None:
    text = page.read_text("utf-8")
    for marker, made in PARTS.items():
        if marker not in text:
            raise SystemExit(f"{page.name} has no line {marker}")
        text = text.replace(marker, made())
    page.write_text(text, encoding="utf-8")


def _gather_package() -> None:
    """The package as it is installed, with methods and data sets inside."""
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "ssl_isda", PACKAGE / "ssl_isda", ignore=skip)
    for name in ("methods", "datasets"):
        shutil.copytree(ROOT / name, PACKAGE / "ssl_isda" / name, ignore=skip)


def main() -> int:
    """Gather, build and check; the exit code."""
    start = time.monotonic()
    gather()
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if built.returncode:
        print(built.stdout + built.stderr, file=sys.stderr)
        return 1
    wrong = [*dead_links(SITE), *unread_formulas(SITE)]
    for line in wrong:
        print(line, file=sys.stderr)
    pages = sum(1 for _ in SITE.rglob("*.html"))
    print(f"build/html/index.html: {pages} pages in {time.monotonic() - start:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
