"""What stands on the pages."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def python_blocks(page: str) -> list[str]:
    """All blocks of Python on a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


def snippet(page: str, word: str) -> str:
    """The one block of Python on a page that has the word."""
    (code,) = [block for block in python_blocks(page) if word in block]
    return code
