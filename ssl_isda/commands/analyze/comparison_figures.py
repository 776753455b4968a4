"""The figures of a comparison, as SVG: the same runs give the same bytes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ssl_isda.commands.analyze.comparison import Comparison, Effect, Panel, told
from ssl_isda.results.figures import as_svg
from ssl_isda.results.headlines import judged_by
from ssl_isda.results.palette import BLACK, BLUE, LINES, METHOD_COLOURS
from ssl_isda.results.run_files import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST_POINTS = 3
"""Of a curve; fewer values of a setting are told by the table."""
_WIDTH, _HEIGHT, _ROW, _LETTER = 4.2, 3.3, 0.24, 0.082
"""Inches: of a panel, of a line in the figure of differences and of a letter in it."""
_COLUMNS = 3
"""Panels beside each other, at most."""
_ASIDE = 0.05
"""Of its value on a logarithmic axis each further curve stands so much to the right, so that the
intervals can be told apart."""


@dataclass(frozen=True)
class Curve:
    """Pairs whose cells with ISDA differ in one number alone."""

    setting: str
    values: tuple[float, ...]
    effects: tuple[Effect, ...]


def comparison_figures(comparison: Comparison) -> dict[str, bytes]:
    """By file name: the differences of all rows, and curves where a number was varied."""
    figures = {}
    if any(effect.difference for effect in comparison.effects):
        figures["differences.svg"] = _differences(comparison.effects, comparison.difference)
    drawn = [(panel, curves) for panel in comparison.panels if (curves := curves_of(panel))]
    if drawn:
        figures["curves.svg"] = _curves(drawn)
    return figures


def curves_of(panel: Panel) -> list[Curve]:
    """Every setting that takes three or more numbers while the others stand still."""
    curves = []
    for setting in panel.differing:
        groups: dict[str, list[Effect]] = {}
        for effect in panel.effects:
            others = {n: effect.isda.settings.get(n) for n in panel.differing if n != setting}
            groups.setdefault(repr(others), []).append(effect)
        for group in groups.values():
            values = [number(effect.isda.settings.get(setting)) for effect in group]
            pairs = [
                (v, e) for v, e in zip(values, group, strict=True) if v is not None and e.difference
            ]
            if len(pairs) >= FEWEST_POINTS:
                numbers, effects = zip(*sorted(pairs, key=lambda pair: pair[0]), strict=True)
                curves.append(Curve(setting, numbers, effects))
    return curves


# ---- differences: a line for each row of the table


@as_svg
def _differences(effects: Sequence[Effect], difference: str) -> Figure:
    from matplotlib.figure import Figure

    shown = [effect for effect in effects if effect.difference]
    labels = [_ascii(effect.name) for effect in shown]
    beside, height = 0.25 + _LETTER * max(map(len, labels)), 0.75 + _ROW * len(shown)
    width = beside + _WIDTH
    figure = Figure(figsize=(width, height))
    place = (beside / width, 0.55 / height, 0.96 * _WIDTH / width, _ROW * len(shown) / height)
    axes = figure.add_axes(place)
    axes.axvline(0, color=BLACK, linewidth=0.8)
    for line, effect in enumerate(shown):
        _draw_difference(axes, line, effect)
    axes.set_yticks(range(len(shown)), labels)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.set_xlabel(_ascii(f"test {_judged(shown)} {difference} (points)"))
    return figure


def _judged(effects: Sequence[Effect]) -> str:
    return judged_by([run for effect in effects for run in effect.isda.finished])


def _draw_difference(axes: Any, line: int, effect: Effect) -> None:
    """Each seed small, the mean large, its interval as a line."""
    found = effect.difference
    assert found is not None
    colour = METHOD_COLOURS.get(effect.isda.method, LINES[0])
    seeds = [*effect.differences.values()]
    axes.plot(seeds, [line] * len(seeds), "o", color=colour, markersize=2.5, alpha=0.45)
    if found.interval:
        axes.plot(found.interval, [line, line], "-", color=colour, linewidth=1.4)
    _draw_mean(axes, (found.mean, line), bool(found.interval), colour)


def _draw_mean(axes: Any, place: tuple[float, float], has_interval: bool, colour: str) -> None:
    """Hollow where there is no interval."""
    fill = colour if has_interval else "#ffffff"
    axes.plot(*place, "o", color=colour, markerfacecolor=fill, markersize=5.5)


# ---- curves: the difference against a setting, of cells that have no value of it as levels
#
# Not the error itself: cells of one seed and of three do not stand on the same level.


@as_svg
def _curves(drawn: Sequence[tuple[Panel, Sequence[Curve]]]) -> Figure:
    """A panel for each method and setting; those of one setting have one scale."""
    from matplotlib.figure import Figure

    shown = [
        (panel, [curve for curve in curves if curve.setting == setting])
        for panel, curves in drawn
        for setting in dict.fromkeys(curve.setting for curve in curves)
    ]
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * rows))
    of_setting: dict[str, list[Any]] = {}
    for place, (panel, curves) in enumerate(shown):
        row, column = divmod(place, columns)
        corner = ((column + 0.16) / columns, (rows - row - 0.85) / rows)
        axes = figure.add_axes((*corner, 0.8 / columns, 0.74 / rows))
        of_setting.setdefault(curves[0].setting, []).append(axes)
        _draw_panel(axes, panel, curves)
    for every in of_setting.values():
        lows, highs = zip(*(axes.get_ylim() for axes in every), strict=True)
        for axes in every:
            axes.set_ylim(min(lows), max(highs))
    return figure


def _levels(panel: Panel, curves: Sequence[Curve]) -> list[Effect]:
    """What is on no curve."""
    taken = {id(effect) for curve in curves for effect in curve.effects}
    return [e for e in panel.effects if id(e) not in taken and e.difference]


def _draw_panel(axes: Any, panel: Panel, curves: Sequence[Curve]) -> None:
    """``curves`` are of one setting."""
    own = METHOD_COLOURS.get(panel.plain.method, BLUE)
    own = BLUE if own == BLACK else own  # black is the plain method's
    axes.axhline(0, color=BLACK, linestyle="--", linewidth=1.2, label="without ISDA")
    others = [colour for colour in LINES if colour not in (own, BLACK)]
    colours = itertools.cycle([own, *others])
    is_wide = all(c.values[0] > 0 and c.values[-1] / c.values[0] > 5 for c in curves)
    if is_wide:
        axes.set_xscale("log")
    for place, (curve, colour) in enumerate(zip(curves, colours, strict=False)):
        name = _ascii(_isda_name(curve.effects[0], panel, curve.setting))
        _draw_curve(axes, curve, colour, name, 1 + _ASIDE * place if is_wide else 1)
    for effect, colour in zip(_levels(panel, curves), colours, strict=False):
        if found := effect.difference:  # it has no place on the axis: the mean as a line
            name = _ascii(_isda_name(effect, panel, curves[0].setting))
            axes.axhline(found.mean, color=colour, linestyle="-.", linewidth=1.2, label=name)
    _finish(axes, panel, curves)


def _draw_curve(axes: Any, curve: Curve, colour: str, name: str, aside: float) -> None:
    points = [effect.difference for effect in curve.effects if effect.difference]
    values = [aside * value for value in curve.values]
    axes.plot(values, [point.mean for point in points], "-", color=colour, label=name)
    for value, point in zip(values, points, strict=True):
        if point.interval:
            axes.plot([value, value], point.interval, "-", color=colour, linewidth=1.0)
        _draw_mean(axes, (value, point.mean), bool(point.interval), colour)


def _finish(axes: Any, panel: Panel, curves: Sequence[Curve]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    values = sorted({value for curve in curves for value in curve.values})
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(curves[0].setting)
    axes.set_ylabel(f"test {_judged(curves[0].effects)}, minus without ISDA (points)")
    axes.set_title(_ascii(panel.title), fontsize=9)
    axes.legend(loc="best", fontsize=7.5)


def _isda_name(effect: Effect, panel: Panel, setting: str) -> str:
    """What a line of the legend says; the curve's ``setting`` stands at the axis."""
    words = told(effect.isda, [n for n in panel.differing if n != setting], panel.cells)
    return f"ISDA, {words}" if words else "ISDA"


def _ascii(text: str) -> str:
    """What no font lacks: names of folders and methods may hold anything."""
    text = text.replace("Π", "Pi")
    return text if text.isascii() and text.isprintable() else ascii(text)[1:-1]
