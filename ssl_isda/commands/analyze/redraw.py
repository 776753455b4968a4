"""Tables and figures made again from the numbers that were kept of them, to the same bytes.

tightness.json -> tightness.md, tightness.svg
cost.json      -> cost.md
strength.jsonl -> strength.md
tsne.npz       -> tsne.png, tsne.svg; those of several folders in one figure
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import printed
from ssl_isda.results.writing import write_report
from ssl_isda.runs.data_digest import refuse_other_images

if TYPE_CHECKING:
    from ssl_isda.results.scatter import Panel

KEPT = ("tightness.json", "cost.json", "strength.jsonl", "tsne.npz")
Kept = TypeVar("Kept")


def redraw(folders: Sequence[Path], out: Path) -> list[str]:
    """Draw what lies in ``folders`` again, into ``out``; the names of the files.

    Raises
    ------
    UsageError
        A folder has none of ``KEPT``, what it has is damaged, or several folders are not all t-SNE.
    OutputFailed
        A file could not be written.
    """
    wanted = KEPT if len(folders) == 1 else KEPT[-1:]
    for folder in folders:
        if not any((folder / name).is_file() for name in wanted):
            raise UsageError(f"{printed(folder)} has no {' or '.join(wanted)} to draw again")
    files: dict[str, str | bytes] = {} if len(folders) > 1 else {**_texts(folders[0])}
    pictures = [file for folder in folders if (file := folder / "tsne.npz").is_file()]
    if pictures:
        from ssl_isda.results.scatter import scatter_files

        files |= scatter_files(*_panels(pictures))
    write_report(files, out)
    return [*files]


def _texts(folder: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    if (file := folder / "tightness.json").is_file():
        from ssl_isda.commands.analyze.tightness_page import read_tightness, tightness_files

        texts |= tightness_files(*_read(file, read_tightness))
    if (file := folder / "cost.json").is_file():
        from ssl_isda.commands.analyze.cost_page import cost_files, read_cost

        texts |= cost_files(*_read(file, read_cost))
    if (file := folder / "strength.jsonl").is_file():
        from ssl_isda.commands.analyze.strength import read_strength, strength_files

        texts |= strength_files(_read(file, read_strength))
    return texts


def _panels(pictures: Sequence[Path]) -> tuple[list[Panel], list[str]]:
    """What stands in each tsne.npz, and the names of the classes that all have."""
    from ssl_isda.results.scatter import read_panel

    read = [_read(file, read_panel) for file in pictures]
    first, known = read[0]
    for file, (panel, names) in zip(pictures, read, strict=True):
        if names != known:
            raise UsageError(f"{printed(file)} has other classes than {printed(pictures[0])}")
        refuse_other_images(
            *(panel.data_digest, [first.data_digest], f"{printed(file)} shows other images"),
            *(pictures[0], "draw them one by one"),
        )
    return [panel for panel, _ in read], known


def _read(file: Path, reader: Callable[[Path], Kept]) -> Kept:
    try:
        return reader(file)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{printed(file)} cannot be drawn again: {reason[:200]}") from error
