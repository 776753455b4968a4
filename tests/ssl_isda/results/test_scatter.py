"""The picture of points: any names, the same looks in every panel, the same bytes each time."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ssl_isda.results.scatter import Panel, scatter_figure, scatter_files

NAMES = [str(digit) for digit in range(10)]


def panel(title: str = "VAT\ndigits, 20 labels", classes: int = 10, n: int = 80) -> Panel:
    draws = np.random.RandomState(0)
    return Panel(title, draws.randn(n, 2), draws.randint(classes, size=n))


def test_the_same_bytes_whatever_the_users_style_and_clock(monkeypatch) -> None:
    import matplotlib

    first = scatter_files([panel(), panel("VAT + ISDA")], NAMES)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "2000000000")
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 20, "svg.hashsalt": "x"}):
        assert scatter_files([panel(), panel("VAT + ISDA")], NAMES) == first
        assert matplotlib.rcParams["font.size"] == 20
    image = Image.open(io.BytesIO(first["tsne.png"]))
    assert image.format == "PNG" and min(image.size) > 800
    assert first["tsne.svg"].startswith(b"<?xml") and b"<dc:date>" not in first["tsne.svg"]
    assert b"Software" not in first["tsne.png"]


def test_each_class_has_its_own_look_in_every_panel() -> None:
    """The second panel has class 2 alone: drawn as in the first."""
    labels = np.arange(100)
    both = Panel("both", np.zeros((100, 2)), labels)
    one = Panel("one", np.zeros((1, 2)), labels[2:3])
    figure = scatter_figure([both, one], [str(label) for label in labels])
    first, second = (
        [(tuple(c.get_facecolor()[0]), len(c.get_paths()[0])) for c in axes.collections]
        for axes in figure.axes
    )
    assert first == second and len({colour for colour, _ in first[:10]}) == 10
    legend = figure.legends[0]
    looks = {(line.get_color(), line.get_marker()) for line in legend.legend_handles}
    assert len(looks) == 100
    assert [text.get_text() for text in legend.get_texts()] == [str(label) for label in labels]


@pytest.mark.parametrize(
    "names",
    [
        ["_hidden", "$x$", "$\\frac$", "a\nb", "", "漢字"],
        ["\udcff", "x" * 300, "<&>"],
        [f"class {k}" for k in range(150)],
    ],
    ids=["marks", "odd", "too many"],
)
def test_any_class_name_can_be_drawn(names: list[str]) -> None:
    files = scatter_files([panel("$\\frac$\nodd % & <b>", classes=3)], names)
    files["tsne.svg"].decode("utf-8")


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (3, (1, 3)), (5, (2, 4)), (9, (3, 4))])
def test_many_panels_stand_in_rows_of_four(count: int, shape: tuple[int, int]) -> None:
    figure = scatter_figure([panel(f"run {k}", n=20) for k in range(count)], NAMES)
    assert figure.axes[0].get_gridspec().get_geometry() == shape
    assert [axes.get_title() for axes in figure.axes if axes.axison] == [
        f"run {k}" for k in range(count)
    ]
