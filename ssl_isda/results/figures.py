"""Figures as SVG: the same input gives the same bytes, and nothing is kept between two figures.

Line styles say the same as colours.
"""

from __future__ import annotations

import functools
import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec

from ssl_isda.results.cells import Cell, row_name
from ssl_isda.results.curves import Curve, curve
from ssl_isda.results.headlines import headlines_of
from ssl_isda.results.palette import LINES, METHOD_COLOURS
from ssl_isda.runs.metrics import MEAN_IOU, TEST_ERROR, TEST_MEAN_IOU, Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SETTINGS = {
    "svg.hashsalt": "ssl-isda",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
_WIDTH, _AXES_HEIGHT, _LINE_HEIGHT = 4.2, 2.4, 0.2
"""Inches."""
_LONG_LABEL = 24

_ONE_LINE = re.compile(rb"\s*\n(?=[^<\s])")
"""Where matplotlib breaks a line within a tag: a path of a hundred points takes as many lines."""

Drawn = ParamSpec("Drawn")
Line = tuple[str, Curve, str, str, bool]
"""Label, curve, colour, line style, and whether it has a band."""


def as_svg(figure_of: Callable[Drawn, Figure]) -> Callable[Drawn, bytes]:
    """What makes a figure gives its SVG: without a date and random names, and drawn with our own
    settings on top of matplotlib's defaults rather than of a user's matplotlibrc."""

    @functools.wraps(figure_of)
    def svg(*args: Drawn.args, **kwargs: Drawn.kwargs) -> bytes:
        import matplotlib

        left = ("backend", "backend_fallback", "date.epoch")
        defaults = {n: v for n, v in matplotlib.rcParamsDefault.items() if n not in left}
        settings: Any = {**defaults, **_SETTINGS}
        content = io.BytesIO()
        with matplotlib.rc_context(settings):
            figure = figure_of(*args, **kwargs)
            figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
        return _ONE_LINE.sub(b" ", content.getvalue())

    return svg


def error_figure(cells: Sequence[Cell]) -> bytes | None:
    """Test error, or mIoU, of one method's cells, mean line and band of one standard deviation."""
    runs = [run for cell in cells for run in cell.runs]
    metric = TEST_MEAN_IOU if headlines_of(runs) == [MEAN_IOU] else TEST_ERROR
    colours = itertools.cycle(LINES)
    lines = _lines(cells, metric, {cell.row: next(colours) for cell in cells}, band=True)
    return _line_figure(lines, metric, may_be_logarithmic=True) if lines else None


def metric_figure(cells: Sequence[Cell], metric: Metric) -> bytes | None:
    """One metric of many cells, mean lines alone."""
    others = itertools.cycle(LINES)
    colours = {cell.row: METHOD_COLOURS.get(cell.method) or next(others) for cell in cells}
    lines = _lines(cells, metric, colours, band=False)
    return _line_figure(lines, metric) if lines else None


@as_svg
def matrix_figure(shares: Sequence[Sequence[float]]) -> Figure:
    """A confusion matrix of many classes; ``shares`` of each true class, in percent."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, 4.0))
    axes = figure.add_axes((0.13, 0.12, 0.63, 0.8))
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=100, interpolation="nearest")
    axes.grid(False)
    axes.set_xlabel("predicted class (number)")
    axes.set_ylabel("true class (number)")
    bar = figure.colorbar(image, cax=figure.add_axes((0.79, 0.12, 0.03, 0.8)))
    bar.set_label("images of the true class (%)")
    return figure


def _lines(
    cells: Sequence[Cell], metric: Metric, colours: Mapping[Any, str], *, band: bool
) -> list[Line]:
    variants: dict[Any, int] = {}
    lines = []
    for cell in cells:
        found = curve(cell, metric, with_std=band)
        number = variants[cell.method, cell.isda] = variants.get((cell.method, cell.isda), -1) + 1
        if found and found.steps:
            style = (("-", "-."), ("--", ":"))[cell.isda][number % 2]
            lines.append((_label(cell, found, band), found, colours[cell.row], style, band))
    return lines


def _label(cell: Cell, found: Curve, with_n: bool) -> str:
    name = row_name(cell.row).replace("Temporal", "Temp.")
    if not all(letter.isascii() and letter.isprintable() for letter in cell.method + cell.variant):
        name = ascii(name)[1:-1]
    name = name if len(name) <= 60 else name[:57] + "..."
    count = f", n = {found.n}" if with_n else ""
    return f"{name}{count}{'' if found.is_finished else ', unfinished'}"


@as_svg
def _line_figure(
    lines: Sequence[Line], metric: Metric, *, may_be_logarithmic: bool = False
) -> Figure:
    """The axes, and below them a legend as high as it needs to be."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    columns = 1 if len(lines) == 1 or max(len(line[0]) for line in lines) > _LONG_LABEL else 2
    below = 0.62 + _LINE_HEIGHT * -(-len(lines) // columns)
    height = _AXES_HEIGHT + below
    figure = Figure(figsize=(_WIDTH, height))
    axes = figure.add_axes((0.19, below / height, 0.78, (_AXES_HEIGHT - 0.1) / height))
    handles = [_draw(axes, line) for line in lines]
    axes.set_xlabel("training step")
    axes.set_ylabel(metric.unit)
    if may_be_logarithmic:
        _make_logarithmic(axes)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    figure.legend(
        handles,
        [line[0] for line in lines],
        loc="lower left",
        bbox_to_anchor=(0.02, 0.0),
        ncols=columns,
        handlelength=2.6,
        columnspacing=1.0,
    )
    return figure


def _make_logarithmic(axes: Any) -> None:
    """Where values lie far apart, so that small ones can be told from each other too."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = axes.dataLim.intervaly
    ticks = [tick * 10.0**power for power in (-2, -1, 0, 1) for tick in (1, 1.5, 2, 3, 5, 7)]
    if low <= 0 or high / low < 3:
        return
    axes.set_yscale("log")
    axes.set_ylim(low / 1.05, high * 1.05)
    axes.yaxis.set_major_locator(FixedLocator([t for t in ticks if low / 1.05 <= t <= high * 1.05]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{error:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(f"{axes.get_ylabel()}, log scale")


def _draw(axes: Any, line: Line) -> Any:
    _, found, colour, style, band = line
    marker = "o" if len(found.steps) == 1 else ""
    (drawn,) = axes.plot(
        found.steps, found.means, color=colour, linestyle=style, linewidth=1.6, marker=marker
    )
    if band and found.stds:
        pairs = list(zip(found.means, found.stds, strict=True))
        low, high = [mean - std for mean, std in pairs], [mean + std for mean, std in pairs]
        axes.fill_between(found.steps, low, high, color=colour, alpha=0.2, linewidth=0)
    return drawn
