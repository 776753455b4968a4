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
    """ "; did you mean 'labels'?", or nothing; blind to capitals and to - against _."""
    plain = {other.casefold().replace("_", "-"): other for other in known}
    match = difflib.get_close_matches(name.casefold().replace("_", "-"), plain, n=1)
    return f"; did you mean '{plain[match[0]]}'?" if match else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The one sentence for a name that is not registered: what was asked, the nearest, all known."""
    known = list(known)
    return f"unknown {kind} {shown(name)}{nearest(name, known)} (known: {', '.join(known)})"
