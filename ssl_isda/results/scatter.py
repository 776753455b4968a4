"""Points of several networks side by side, coloured by their classes, as in Fig. 8 of ISDA."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_isda.results.palette import CLASSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILES = ("tsne.png", "tsne.svg")
MARKERS = {"o": 1.0, "s": 0.9, "^": 1.1, "D": 0.7, "v": 1.1, "P": 1.2, "X": 1.2, "<": 1.1}
MARKERS |= {"*": 1.9, ">": 1.1}
"""Ten shapes, and the factors on their areas that make them look equally large."""
MOST_CLASSES_NAMED = 100
"""As many as there are pairs of a colour and a marker; beyond that no legend could tell them apart."""


@dataclass(frozen=True)
class Panel:
    """One network's points. coordinates : (n, 2); labels : (n,) from 0; data_digest : of its images"""

    title: str
    coordinates: np.ndarray
    labels: np.ndarray
    data_digest: str = ""


def read_panel(archive: Path) -> tuple[Panel, list[str]]:
    """A picture's points and the names of the classes from a tsne.npz.

    Raises
    ------
    ValueError, KeyError, zipfile.BadZipFile
        It is none.
    """
    with np.load(archive, allow_pickle=False) as kept:
        digest = str(kept["data_digest"]) if "data_digest" in kept else ""
        panel = Panel(str(kept["title"]), kept["coordinates"], kept["labels"], digest)
        return panel, kept["class_names"].tolist()


def scatter_files(panels: Sequence[Panel], class_names: Sequence[str]) -> dict[str, bytes]:
    """The pictures by name."""
    return dict(zip(FILES, draw(panels, class_names), strict=True))


def draw(panels: Sequence[Panel], class_names: Sequence[str]) -> tuple[bytes, bytes]:
    """A PNG and an SVG of the panels with one legend; the same bytes each time."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # whatever style the user prefers elsewhere
        matplotlib.rcParams["svg.hashsalt"] = "ssl-isda"
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # drawn as a box
        figure, png, svg = scatter_figure(panels, class_names), io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return png.getvalue(), svg.getvalue()


def scatter_figure(panels: Sequence[Panel], class_names: Sequence[str]) -> Figure:
    """Up to four panels in a row."""
    from matplotlib.figure import Figure

    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    names = [readable(name) for name in class_names[:MOST_CLASSES_NAMED]]
    width = max(4.2 * columns, 5.2)
    legend_columns = _legend_columns(width, names)
    height = 4.6 * rows + 0.4 + 0.2 * -(-len(names) // legend_columns)
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(grid, panels, strict=False):
        _scatter(axes, panel, len(class_names))
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    if len(class_names) <= MOST_CLASSES_NAMED:
        _add_legend(figure, names, legend_columns)
    return figure


def _scatter(axes: Any, panel: Panel, num_classes: int) -> None:
    area = float(np.clip(12_000 / len(panel.labels), 4, 26))
    for label in range(num_classes):
        colour, marker = _style(label)
        x, y = panel.coordinates[panel.labels == label].T
        axes.scatter(
            *(x, y, area * MARKERS[marker]),
            color=colour,
            marker=marker,
            linewidths=area / 100,
            edgecolors="white",
        )
    axes.set_title(panel.title, fontsize=11, parse_math=False)
    axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    for spine in axes.spines.values():
        spine.set_color("#c0c0c0")


def _style(label: int) -> tuple[str, str]:
    """Colour and marker: unique for the first hundred classes; the first ten differ in both."""
    tens, ones = divmod(label, 10)
    return CLASSES[ones], [*MARKERS][(ones + tens) % 10]


def _legend_columns(width: float, names: Sequence[str]) -> int:
    """As many as fit into ``width`` inches, or fewer if that makes no more rows."""
    fitting = max(1, int(width * 13 / (max(map(len, names)) + 5)))
    rows = -(-len(names) // fitting)
    return -(-len(names) // rows)


def _add_legend(figure: Figure, names: Sequence[str], columns: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="none", color=colour, marker=marker, markersize=6 * scale**0.5)
        for colour, marker in map(_style, range(len(names)))
        for scale in (MARKERS[marker],)
    ]
    legend = figure.legend(
        handles,
        ["x" * len(name) for name in names],  # a name itself may begin with "_" or hold "$"
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
        handletextpad=0.2,
        columnspacing=1.2,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def readable(name: str, longest: int = 20) -> str:
    """On one line, short, and of characters that a file can hold."""
    text = " ".join(str(name).split()).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= longest else text[: longest - 1] + "…"
