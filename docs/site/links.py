"""Every link, picture, script and anchor of the built pages leads to something in the site.

The generator checks what is written in Markdown; this checks what a browser will follow, whoever wrote
it, and that nothing is loaded from elsewhere.
"""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("source", "src")}


class _Page(HTMLParser):
    """The names on a page and where it points to."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = {""}
        self.targets: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.names |= {found.get("id", ""), found.get("name", "")}
        is_hint = tag == "link" and found.get("rel") in ("canonical", "alternate")
        for name in ("href", "src"):
            if found.get(name) and not is_hint:
                self.targets.append((found[name], (tag, name) in LOADED))


def dead_links(site: Path) -> list[str]:
    """One line for each target that is not there, or that would be loaded from another place."""
    pages = {path.resolve(): _parsed(path) for path in sorted(site.rglob("*.html"))}
    return [
        f"{path.relative_to(site.resolve())}: {target}: {problem}"
        for path, page in pages.items()
        for target, is_loaded in page.targets
        if (problem := _problem(site.resolve(), path, target, is_loaded, pages))
    ]


def unread_formulas(site: Path) -> list[str]:
    """One line for each page on which a formula has stayed text."""
    return [
        f"{path.relative_to(site)}: a formula that nobody has read: {mark}"
        for path in sorted(site.rglob("*.html"))
        for mark in (".. math::", "$<code>", "language-math")
        if mark in path.read_text("utf-8")
    ]


def _parsed(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text("utf-8"))
    return page


def _problem(
    site: Path, path: Path, target: str, is_loaded: bool, pages: dict[Path, _Page]
) -> str | None:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return "loaded from another place" if is_loaded and parts.scheme != "data" else None
    start = site if parts.path.startswith("/") else path.parent
    found = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
    found = found / "index.html" if found.is_dir() else found
    if not found.is_file():
        return "there is no such file"
    if found in pages and unquote(parts.fragment) not in pages[found].names:
        return "there is no such anchor"
    return None
