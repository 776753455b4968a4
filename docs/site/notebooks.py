"""A notebook as a page: its cells, and what they printed and drew when it was last run."""

from __future__ import annotations

from pathlib import Path

from nbconvert import MarkdownExporter


def write_page(notebook: Path, target: Path) -> None:
    """The notebook as Markdown at ``target``, its pictures beside it."""
    folder = target.with_suffix("").name
    resources = {"output_files_dir": f"{folder}_files", "unique_key": folder}
    text, made = MarkdownExporter().from_filename(str(notebook), resources)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    for name, content in made["outputs"].items():
        path = target.parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
