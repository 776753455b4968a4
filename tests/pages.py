"""What stands on the pages."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def snippet(page: str, word: str) -> str:
    """The one block of Python on a page that has the word."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if word in block]
    return code
