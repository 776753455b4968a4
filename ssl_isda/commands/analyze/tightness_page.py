"""What ``run.py analyze tightness`` writes: a table, its numbers, and a figure like Fig. 9 of ISDA."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_isda.commands.analyze.tightness import Bound, Moment
from ssl_isda.results.figures import as_svg
from ssl_isda.results.palette import BLACK, BLUE, GREEN, ORANGE, PINK
from ssl_isda.results.tables import Table, markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Part = tuple[str, str, str]
"""Title, attribute of a moment, and what the loss is called without augmentation."""
_PARTS: tuple[Part, ...] = (
    ("Prop. 1, labeled images", "supervised", "cross-entropy"),
    ("Prop. 2, unlabeled images", "semantic", "H"),
)
_PANEL = 4.2
"""Inches."""


def tightness_files(moments: Sequence[Moment], num_samples: int) -> dict[str, str]:
    """The content of each file, by name."""
    numbers = {"samples": num_samples, "moments": [asdict(moment) for moment in moments]}
    return {
        "tightness.md": "\n".join(_lines(moments, num_samples)) + "\n",
        "tightness.json": json.dumps(numbers) + "\n",
        "tightness.svg": tightness_figure(moments).decode(),
    }


def read_tightness(file: Path) -> tuple[list[Moment], int]:
    """Moments and draws from a tightness.json; ValueError, TypeError or KeyError if it is none."""
    kept = json.loads(file.read_bytes())
    if not kept["moments"]:
        raise ValueError("no moment is in it")
    moments = [
        Moment(
            **row
            | {name: None if row[name] is None else Bound(**row[name]) for _, name, _ in _PARTS}
        )
        for row in kept["moments"]
    ]
    return moments, kept["samples"]


def _lines(moments: Sequence[Moment], num_samples: int) -> Iterator[str]:
    yield f"Bound and expectation in nats, means of a training batch; {num_samples:,} draws an image,"
    yield "± their standard error. The excess is what lies above the loss without augmentation, which"
    yield "is the cross-entropy for Prop. 1 and the entropy H of the prediction for Prop. 2.\n"
    for title, name, floor in _PARTS:
        rows = [(m, found) for m in moments if (found := getattr(m, name)) is not None]
        if not rows:
            continue
        yield f"{title}\n"
        heads = ["step", "lambda", floor, "bound", "expectation", "bound / expectation"]
        heads += ["excess of the bound / of the expectation"]
        yield markdown_table(Table([heads, *(_row(*pair) for pair in rows)]))
        yield f"\n{verdict([found for _, found in rows])}\n"
    yield from _other_forms(moments)


def _row(moment: Moment, found: Bound) -> list[str]:
    excess = found.ratio_of_excess
    return [
        f"{moment.step:,}",
        f"{moment.strength:.3f}",
        f"{found.floor:.4f}",
        f"{found.bound:.4f}",
        f"{found.expected:.4f} ± {found.standard_error:.4f}",
        f"{found.ratio:.4f}",
        "" if excess is None else f"{excess:.2f}",
    ]


def _other_forms(moments: Sequence[Moment]) -> Iterator[str]:
    """The values of ``--consistency`` beside the divergence that they stand for."""
    rows = [(m, m.semantic) for m in moments if m.semantic and m.semantic.ratio_of_excess]
    if not rows or not rows[0][0].divergences:
        return
    yield "Values of --consistency, unlabeled images\n"
    yield "The expected divergence is the expectation less H; the forms are in units of it.\n"
    lines: list[list[object]] = [["step", "lambda", "expected divergence", "upper_bound (Prop. 2)"]]
    lines[0] += [*rows[0][0].divergences]
    for moment, found in rows:
        divergence = found.expected - found.floor
        texts = [f"{moment.step:,}", f"{moment.strength:.3f}"]
        texts += [f"{divergence:.5f} ± {found.standard_error:.5f}", f"{found.ratio_of_excess:.2f}"]
        lines.append([*texts, *(f"{d / divergence:.2f}" for d in moment.divergences.values())])
    yield markdown_table(Table(lines))
    yield ""


def verdict(bounds: Sequence[Bound]) -> str:
    """How tight, in one sentence, and where it is not."""
    whole = [found.ratio for found in bounds]
    excess = [ratio for found in bounds if (ratio := found.ratio_of_excess) is not None]
    text = f"The bound is {min(whole):.3f} to {max(whole):.3f} times the expectation"
    if not excess:
        return f"{text}; what the augmentation adds is too small for the draws."
    text += f", its excess {min(excess):.2f} to {max(excess):.2f} times the expectation's"
    loose = "" if max(excess) < 1.1 else ": what the augmentation adds is not tightly bounded"
    return f"{text}{loose}."


@as_svg
def tightness_figure(moments: Sequence[Moment]) -> Figure:
    """Fig. 9 for each proposition, and the ratios; SVG, the same numbers give the same bytes."""
    from matplotlib.figure import Figure

    parts = [part for part in _PARTS if getattr(moments[0], part[1]) is not None]
    count, steps = len(parts) + 1, [moment.step for moment in moments]
    figure = Figure(figsize=(_PANEL * count, 3.2))
    places = [((k + 0.16) / count, 0.16, 0.8 / count, 0.72) for k in range(count)]
    axes = [figure.add_axes(place) for place in places]
    for each, part in zip(axes, parts, strict=False):
        _draw_values(each, steps, [getattr(moment, part[1]) for moment in moments], part)
    _draw_ratios(axes[-1], moments, parts)
    for each in axes:
        each.set_xlabel("training step")
        each.legend(loc="best", fontsize=7.5)
    return figure


def _draw_values(axes: Any, steps: Sequence[int], bounds: Sequence[Bound], part: Part) -> None:
    title, _, floor = part
    draw = functools.partial(axes.plot, steps, linewidth=1.5)
    draw([found.bound for found in bounds], color=ORANGE, label="upper bound")
    draw([found.expected for found in bounds], color=BLUE, label="expectation", linestyle="--")
    draw([found.floor for found in bounds], color=BLACK, label=floor, linestyle=":")
    axes.set_title(title, fontsize=9)
    axes.set_ylabel("nats")


def _draw_ratios(axes: Any, moments: Sequence[Moment], parts: Sequence[Part]) -> None:
    for (title, name, _), colour in zip(parts, (GREEN, PINK), strict=False):
        prop = title.split(",")[0]
        found = [(moment.step, getattr(moment, name)) for moment in moments]
        whole = [(step, bound.ratio) for step, bound in found]
        excess = [(step, bound.ratio_of_excess) for step, bound in found]
        known = [(step, ratio) for step, ratio in excess if ratio is not None]
        for pairs, what, style in ((whole, "the whole", "-"), (known, "the excess", "--")):
            if pairs:
                axes.plot(*zip(*pairs, strict=True), style, color=colour, label=f"{prop}, {what}")
    axes.axhline(1, color=BLACK, linewidth=0.8)
    axes.set_ylabel("bound / expectation")
    axes.set_title("1 is tight", fontsize=9)
