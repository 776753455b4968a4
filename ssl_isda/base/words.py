"""How names, paths and texts appear in the one line of an error, and the guess at what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


def shown(text: str) -> str:
    """``text`` in an error: quoted, on one line, not longer than a line."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def printed(path: str | Path) -> str:
    """A path in an error or a comment: in full, escaped where it would break the line."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def nearest(name: str, known: Iterable[str]) -> str:
    """ "; did you mean 'labels'?", or nothing; blind to capitals and to - against _. Of those that are
    near, one that begins with ``name`` comes first."""
    plain = {other.casefold().replace("_", "-"): other for other in known}
    asked = name.casefold().replace("_", "-")
    matches = difflib.get_close_matches(asked, plain, n=8)
    matches.sort(key=lambda match: not match.startswith(asked))
    return f"; did you mean '{plain[matches[0]]}'?" if matches else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The one sentence for a name that is not registered: what was asked, the nearest, all known."""
    known = list(known)
    return f"unknown {kind} {shown(name)}{nearest(name, known)} (known: {', '.join(known)})"
