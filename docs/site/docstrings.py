"""Docstrings of the house as numpy's style has them: ``name : meaning`` on two lines.

The house writes the meaning where numpy writes the type, since types stand in the signature.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

ENTRY = re.compile(r"^(\w[\w, ]*) : (.+(?:\n {4}.*)*)", re.MULTILINE)
SECTION = re.compile(r"^(?:Parameters|Attributes)\n-+\n(?:.+\n?)*", re.MULTILINE)


def rewritten(text: str) -> str:
    """In sections the meaning goes below each name that it is about; elsewhere entries become a list."""
    parts, end = [], 0
    for section in SECTION.finditer(text):
        parts += [ENTRY.sub(_listed, text[end : section.start()])]
        parts += [ENTRY.sub(_apart, section[0])]
        end = section.end()
    return "".join([*parts, ENTRY.sub(_listed, text[end:])])


def _apart(found: re.Match[str]) -> str:
    return "\n".join(f"{name.strip()}\n    {found[2]}" for name in found[1].split(","))


def _listed(found: re.Match[str]) -> str:
    names = ", ".join(f"`{name.strip()}`" for name in found[1].split(","))
    return f"- {names}: {' '.join(found[2].split())}"


class Docstrings(griffe.Extension):
    """Rewrites each docstring when it has been read."""

    def on_object(self, *, obj: griffe.Object, **rest: Any) -> None:
        if obj.docstring:
            obj.docstring.value = rewritten(obj.docstring.value)
