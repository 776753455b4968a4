"""The picture and its numbers: the same points for every network, the same bytes each time."""

from __future__ import annotations

import io
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from ssl_isda.base.errors import UsageError
from ssl_isda.results import embedding as tsne
from ssl_isda.results.embedding import (
    COLOURS,
    MARKERS,
    Panel,
    balanced_subset,
    check_embeddable,
    cluster_quality,
    draw,
    embed,
    knn_accuracy,
    silhouette,
)

NAMES = [str(digit) for digit in range(10)]


def clustered(n: int = 60, a: int = 8, classes: int = 3, seed: int = 0, spread: float = 0.5):
    """Points around one centre per class, and their classes."""
    draws = np.random.RandomState(seed)
    labels = draws.randint(classes, size=n)
    points = draws.randn(classes, a)[labels] + spread * draws.randn(n, a)
    return points.astype(np.float32), labels


# ---- the points


def test_equally_many_of_each_class_as_far_as_there_are() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 50)
    chosen = balanced_subset(labels, 23)
    assert np.bincount(labels[chosen]).tolist() == [10, 3, 10]
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(labels[balanced_subset(labels, 24)]).tolist() == [11, 3, 10]


def test_all_points_where_there_are_not_more() -> None:
    assert balanced_subset(np.array([1, 0, 0]), 2000).tolist() == [0, 1, 2]


def test_fewer_points_are_a_subset_and_not_the_first_of_a_class() -> None:
    labels = np.arange(1000) % 10
    few, many = balanced_subset(labels, 50), balanced_subset(labels, 200)
    assert set(few) < set(many)
    assert np.median(few) > 300
    assert balanced_subset(labels, 50).tolist() == few.tolist()


# ---- refused


@pytest.mark.fault(41)
@pytest.mark.parametrize("perplexity", [20, 20.5, 30])
def test_fault_41_fewer_points_than_the_perplexity(perplexity: float) -> None:
    points, _ = clustered(20)
    with pytest.raises(UsageError, match=r"--perplexity must be below .*, 20; got"):
        embed(points, perplexity)


@pytest.mark.fault(41)
@pytest.mark.parametrize("n", [0, 1, 5])
def test_fault_41_too_few_points_for_neighbours(n: int) -> None:
    with pytest.raises(UsageError, match=f"{n} test images are too few"):
        embed(clustered(60)[0][:n], 1)


@pytest.mark.fault(41)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_fault_41_features_that_are_not_finite(value: float) -> None:
    points, _ = clustered()
    points[7, 3] = points[9, 0] = points[9, 1] = value
    with pytest.raises(UsageError, match="the features of 2 of 60 test images are not finite"):
        embed(points, 5)


@pytest.mark.fault(41)
@pytest.mark.parametrize("value", [0.0, 0.1, -3e38])
def test_fault_41_constant_features(value: float) -> None:
    with pytest.raises(UsageError, match="of all 60 test images are the same"):
        embed(np.full((60, 8), value, np.float32), 5)


@pytest.mark.fault(41)
def test_fault_41_one_feature() -> None:
    with pytest.raises(UsageError, match="2 features or more"):
        check_embeddable(np.arange(60.0)[:, None], 5)


@pytest.mark.fault(41)
@pytest.mark.parametrize("kind", ["least", "two places", "huge", "tiny", "one column moves"])
def test_fault_41_what_is_barely_enough_is_drawn(kind: str) -> None:
    points, labels = clustered()
    perplexity = 5.0
    if kind == "least":
        points, labels, perplexity = points[:6], np.array([0, 1, 0, 1, 0, 1]), 5.99
    elif kind == "two places":
        points = np.repeat(points[:2], 30, axis=0)
    elif kind == "huge":
        points *= np.float32(1e37)
    elif kind == "tiny":
        points *= np.float32(1e-38)
    else:
        points[:, 1:] = 0
    coordinates = embed(points, perplexity)
    assert coordinates.shape == (len(points), 2) and np.isfinite(coordinates).all()
    quality = cluster_quality(coordinates, labels)
    assert 0 <= quality["knn_accuracy"] <= 100
    json.dumps(quality, allow_nan=False)


# ---- the embedding


def test_clusters_stay_together_and_the_picture_is_the_same_each_time(capfd) -> None:
    points, labels = clustered(90, spread=0.1)
    first = embed(points, 10)
    assert first.dtype == np.float32
    assert knn_accuracy(first, labels) == 100.0
    assert embed(points, 10).tobytes() == first.tobytes()
    assert embed(points * 1024, 10).tobytes() == first.tobytes()  # units do not matter
    assert capfd.readouterr() == ("", "")  # scikit-learn's report goes to the bar


@pytest.mark.fault(38)
def test_fault_38_on_a_terminal_a_bar_shows_the_iterations(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    embed(clustered(400)[0], 5)  # long enough for a bar that moves ten times a second
    printed = capsys.readouterr()
    assert printed.out == "" and "iteration" in printed.err
    assert re.search(r"\b[1-9]\d*/1000\b", printed.err)


# ---- numbers


def obvious_knn(points: np.ndarray, labels: np.ndarray, k: int) -> float:
    right = 0
    for i in range(len(points)):
        others = [j for j in range(len(points)) if j != i]
        others.sort(key=lambda j: float(((points[i] - points[j]) ** 2).sum()))
        nearest = [int(labels[j]) for j in others[:k]]
        most = max(nearest.count(label) for label in nearest)
        right += next(label for label in nearest if nearest.count(label) == most) == labels[i]
    return 100 * right / len(points)


def obvious_silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    scores = []
    for i in range(len(points)):
        means = {}
        for label in set(labels.tolist()):
            members = [j for j in range(len(points)) if labels[j] == label and j != i]
            distances = [np.linalg.norm(points[i] - points[j]) for j in members]
            means[label] = np.mean(distances) if distances else 0.0
        a = means.pop(int(labels[i]))
        b = min(means.values())
        alone = (labels == labels[i]).sum() == 1
        scores.append(0.0 if alone else (b - a) / max(a, b))
    return float(np.mean(scores))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 2, 5])
def test_nearest_neighbours_as_an_obvious_loop_counts_them(seed: int, k: int) -> None:
    points, labels = clustered(40, 3, classes=4, seed=seed, spread=1.0)
    expected = obvious_knn(points.astype(np.float64), labels, k)
    assert 20 < expected < 90  # ties and errors occur
    assert knn_accuracy(points, labels, k) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_silhouette_as_an_obvious_loop_gives_it(seed: int) -> None:
    points, labels = clustered(40, 3, seed=seed, spread=1.0)
    labels[0] = 9  # alone in its class: 0 by definition
    expected = obvious_silhouette(points.astype(np.float64), labels)
    assert silhouette(points, labels) == pytest.approx(expected, abs=1e-9)


def test_silhouette_of_one_class_or_of_singletons_is_none() -> None:
    points, _ = clustered(6)
    assert silhouette(points, np.zeros(6, int)) is None
    assert silhouette(points, np.arange(6)) is None


# ---- the picture


def panel(title: str = "VAT\ndigits, 20 labels", classes: int = 10, n: int = 80) -> Panel:
    points, labels = clustered(n, 2, classes)
    return Panel(title, points, labels)


def test_the_same_bytes_whatever_the_users_style_and_clock(monkeypatch) -> None:
    import matplotlib

    first = draw([panel(), panel("VAT + ISDA")], NAMES)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "2000000000")
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 20, "svg.hashsalt": "x"}):
        assert draw([panel(), panel("VAT + ISDA")], NAMES) == first
        assert matplotlib.rcParams["font.size"] == 20


def test_the_files_are_a_png_and_an_svg_without_a_date() -> None:
    png, svg = draw([panel()], NAMES)
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG" and min(image.size) > 800
    assert svg.startswith(b"<?xml") and b"<dc:date>" not in svg
    assert b"Software" not in png


def test_each_class_has_its_own_look() -> None:
    looks = [tsne._style(label) for label in range(100)]
    assert len(set(looks)) == 100
    assert {colour for colour, _ in looks[:10]} == set(COLOURS) and len(COLOURS) == 10
    assert {marker for _, marker in looks[:10]} == set(MARKERS) and len(MARKERS) == 10


def test_panels_share_colours_where_classes_are_missing() -> None:
    """The second panel has class 2 alone: drawn as in the first."""
    both = panel(classes=3)
    one = Panel("one", both.coordinates[both.labels == 2], np.full((both.labels == 2).sum(), 2))
    figure = tsne._figure([both, one], NAMES[:3])
    first, second = ([c.get_facecolor() for c in axes.collections] for axes in figure.axes)
    assert len(first) == len(second) == 3
    assert first[2].tolist() == second[2].tolist() != first[1].tolist()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == NAMES[:3]


@pytest.mark.parametrize(
    "names",
    [
        ["_hidden", "$x$", "$\\frac$"],
        ["a\nb", "", "漢字"],
        ["\udcff", "x" * 300, "<&>"],
        [f"class {k}" for k in range(100)],
        [f"class {k}" for k in range(150)],
    ],
    ids=["marks", "blanks", "odd", "hundred", "too many"],
)
def test_any_class_name_can_be_drawn(names: list[str]) -> None:
    _, svg = draw([panel("$\\frac$\nodd % & <b>", classes=3)], names)
    svg.decode("utf-8")


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (3, (1, 3)), (5, (2, 4)), (9, (3, 4))])
def test_many_panels_stand_in_rows_of_four(count: int, shape: tuple[int, int]) -> None:
    figure = tsne._figure([panel(f"run {k}", n=20) for k in range(count)], NAMES)
    assert figure.axes[0].get_gridspec().get_geometry() == shape
    assert [axes.get_title() for axes in figure.axes if axes.axison] == [
        f"run {k}" for k in range(count)
    ]


def test_the_picture_does_not_depend_on_the_number_of_threads(monkeypatch) -> None:
    """Two would add in another order, and t-SNE magnifies the last bit: it is given one."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_info, threadpool_limits

    seen: list[int] = []

    def fit_transform(self: TSNE, points: np.ndarray) -> np.ndarray:
        seen.extend(library["num_threads"] for library in threadpool_info())
        return points[:, :2]

    monkeypatch.setattr(TSNE, "fit_transform", fit_transform)
    with threadpool_limits(2):
        embed(clustered()[0], 5)
    assert seen and set(seen) == {1}
