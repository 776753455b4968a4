"""Formulas become MathML, which browsers draw by themselves: no script, no font from the network.

They are written as GitHub reads them, a fenced block named ``math`` or $`...`$ within a line, or as in
docstrings of numpy's style, ``.. math::``.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

FENCED = re.compile(r"^( *)```math\n(.*?)\n\1```$", re.MULTILINE | re.DOTALL)
DIRECTIVE = re.compile(r"^\.\. math::(.*(?:\n(?!\n| *$).*)*)", re.MULTILINE)
INLINE = re.compile(r"\$`(.+?)`\$")


class Formulas(Preprocessor):
    """Keeps each formula aside as HTML before anything else reads the text."""

    def run(self, lines: list[str]) -> list[str]:
        text = FENCED.sub(lambda found: self._block(found[2]), "\n".join(lines))
        text = DIRECTIVE.sub(lambda found: self._block(found[1]), text)
        return INLINE.sub(lambda found: self._kept(convert(found[1])), text).split("\n")

    def _block(self, latex: str) -> str:
        formula = convert(" ".join(textwrap.dedent(latex).split()), display="block")
        kept = self._kept(f'<div class="formula">{formula}</div>')
        return f"\n{kept}\n"

    def _kept(self, html: str) -> str:
        kept: str = self.md.htmlStash.store(html)
        return kept


class FormulasExtension(Extension):
    """Before fences are read (25), after control characters are removed (30)."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.preprocessors.register(Formulas(md), "formulas", 28)


def makeExtension(**settings: Any) -> FormulasExtension:
    return FormulasExtension(**settings)
