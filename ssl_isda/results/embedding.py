"""Test features in two dimensions, as in Fig. 8 of ISDA, and how well the classes lie apart in numbers.

van der Maaten & Hinton, Visualizing data using t-SNE, JMLR 2008; the embedding is scikit-learn's.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_NEIGHBOURS = 5
"""k of the nearest-neighbour accuracy."""
ITERATIONS = 1000
"""scikit-learn's default, whose name differs between its versions."""
SEED = 0
"""Of the choice of points and of t-SNE, the same for every run: pictures shall differ by the network."""

COLOURS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
"""Ten colours that readers with any colour vision tell apart best (Petroff, arXiv:2107.02270)."""
MARKERS = {"o": 1.0, "s": 0.9, "^": 1.1, "D": 0.7, "v": 1.1, "P": 1.2, "X": 1.2, "<": 1.1}
MARKERS |= {"*": 1.9, ">": 1.1}
"""Ten shapes, and the factors on their areas that make them look equally large."""
MOST_CLASSES_NAMED = 100
"""As many as there are pairs of a colour and a marker; beyond that no legend could tell them apart."""


# ---- the points


def balanced_subset(labels: np.ndarray, num_points: int) -> np.ndarray:
    """Positions of ``num_points`` labels, ascending: equally many of each class while there are some.

    A function of the labels alone, so that each network is drawn with the same images.
    """
    order = np.random.RandomState(SEED).permutation(len(labels))
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = np.arange(len(members))
    first = np.lexsort((labels, rank))
    return np.sort(first[:num_points])


def check_embeddable(points: np.ndarray, perplexity: float) -> None:
    """Refuse (n, a) features that t-SNE and the nearest neighbours cannot make sense of.

    Raises
    ------
    UsageError
        Too few points for the perplexity or for ``NUM_NEIGHBOURS``; a value that is not finite; one
        feature only; all points alike.
    """
    num_points = len(points)
    if num_points <= NUM_NEIGHBOURS:
        raise UsageError(
            f"{num_points} test images are too few: their {NUM_NEIGHBOURS} nearest neighbours are "
            f"asked for, so {NUM_NEIGHBOURS + 1} or more are needed"
        )
    if num_points <= perplexity:
        raise UsageError(
            f"--perplexity must be below the number of points, {num_points}; got {perplexity:g}"
        )
    broken = int((~np.isfinite(points)).any(1).sum())
    if broken:
        raise UsageError(
            f"the features of {broken:,} of {num_points:,} test images are not finite: "
            "the network has diverged, there is nothing to draw"
        )
    if points.shape[1] < 2:
        raise UsageError("t-SNE needs 2 features or more, and the network has 1")
    if (points == points[0]).all():
        raise UsageError(
            f"the features of all {num_points:,} test images are the same: "
            "the network has collapsed, there is nothing to draw"
        )


def embed(points: np.ndarray, perplexity: float) -> np.ndarray:
    """(n, 2) float32: t-SNE from the first two principal components, with a fixed seed.

    In one thread: sums in another order end in another picture, and threads that wait for a busy
    core cost more than they bring. A bar shows the iterations on a terminal.

    Raises
    ------
    UsageError
        As ``check_embeddable`` does.
    """
    check_embeddable(points, perplexity)
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    tsne = TSNE(
        init="pca",
        perplexity=perplexity,
        random_state=SEED,
        verbose=2,  # prints every 50th iteration, which _iterations_shown reads
    )
    with _iterations_shown(), threadpool_limits(1):
        coordinates: np.ndarray = tsne.fit_transform(_scaled(points))
    return coordinates.astype(np.float32)


def _scaled(points: np.ndarray) -> np.ndarray:
    """Centred, the largest value 1: the same picture, and no square overflows or vanishes."""
    centred = points.astype(np.float64) - points.mean(0, dtype=np.float64)
    scaled: np.ndarray = (centred / np.abs(centred).max()).astype(np.float32)
    return scaled


@contextlib.contextmanager
def _iterations_shown() -> Iterator[None]:
    """Turn scikit-learn's report on stdout into a bar."""
    with bar(ITERATIONS, "iteration") as shown, contextlib.redirect_stdout(_Report(shown)):
        yield


class _Report(io.TextIOBase):
    """A stream that moves a bar to the iteration it reads about, and drops the rest."""

    def __init__(self, shown: Any) -> None:
        self.shown = shown

    def write(self, text: str) -> int:
        found = re.search(r"Iteration (\d+)", text)
        if found and self.shown is not None:
            self.shown.update(int(found[1]) - self.shown.n)
        return len(text)


# ---- numbers


def knn_accuracy(points: np.ndarray, labels: np.ndarray, k: int = NUM_NEIGHBOURS) -> float:
    """Percent of points whose class is that of most of their ``k`` nearest other points (Euclidean).

    Between classes with equally many neighbours the nearer neighbour's wins.
    """
    from sklearn.neighbors import NearestNeighbors

    neighbours = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
    classes = labels[neighbours]  # (n, k), the nearest first
    votes = (classes[:, :, None] == classes[:, None, :]).sum(2)
    winners = classes[np.arange(len(classes)), votes.argmax(1)]
    return 100.0 * float(np.mean(winners == labels))


def silhouette(points: np.ndarray, labels: np.ndarray) -> float | None:
    """Mean over points of (b - a) / max(a, b), in [-1, 1]; None unless 2 <= classes < points.

    a and b are a point's mean Euclidean distances to its own class and to the nearest other one.
    """
    if not 2 <= len(np.unique(labels)) < len(labels):
        return None
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(points.astype(np.float64), labels))


def cluster_quality(points: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
    """Both figures for one space."""
    return {
        "knn_accuracy": knn_accuracy(points, labels),
        "silhouette": silhouette(points, labels),
    }


# ---- the picture


@dataclass(frozen=True)
class Panel:
    """One network's points. coordinates : (n, 2); labels : (n,) from 0"""

    title: str
    coordinates: np.ndarray
    labels: np.ndarray


def draw(panels: Sequence[Panel], class_names: Sequence[str]) -> tuple[bytes, bytes]:
    """A PNG and an SVG of the panels side by side, with one legend; the same bytes each time."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # whatever style the user prefers elsewhere
        matplotlib.rcParams["svg.hashsalt"] = "ssl-isda"
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # drawn as a box
        figure, png, svg = _figure(panels, class_names), io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return png.getvalue(), svg.getvalue()


def _figure(panels: Sequence[Panel], class_names: Sequence[str]) -> Figure:
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
    return COLOURS[ones], [*MARKERS][(ones + tens) % 10]


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
