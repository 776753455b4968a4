"""t-SNE and cluster quality: the same points for every network, the same numbers each time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ssl_isda.base.errors import UsageError
from ssl_isda.results.embedding import (
    balanced_subset,
    cluster_quality,
    embed,
    knn_accuracy,
    silhouette,
)


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
    assert balanced_subset(np.array([1, 0, 0]), 2000).tolist() == [0, 1, 2]
    assert np.bincount(labels[balanced_subset(labels, 24)]).tolist() == [11, 3, 10]


def test_fewer_points_are_a_subset_and_not_the_first_of_a_class() -> None:
    labels = np.arange(1000) % 10
    few, many = balanced_subset(labels, 50), balanced_subset(labels, 200)
    assert set(few) < set(many)
    assert np.median(few) > 300
    assert balanced_subset(labels, 50).tolist() == few.tolist()


# ---- refused


def with_values(value: float) -> np.ndarray:
    points, _ = clustered()
    points[7, 3] = points[9, 0] = points[9, 1] = value
    return points


FEW = clustered(20)[0]
REFUSED = [
    *(
        (FEW, p, f"--perplexity must be below the number of points, 20; got {p}")
        for p in (20, 20.5)
    ),
    *((FEW[:n], 1, f"{n} test images are too few") for n in (0, 1, 5)),
    *(
        (with_values(value), 5, "the features of 2 of 60 test images are not finite")
        for value in (np.nan, np.inf, -np.inf)
    ),
    *(
        (np.full((60, 8), value, np.float32), 5, "of all 60 test images are the same")
        for value in (0.0, 0.1, -3e38)
    ),
    (np.arange(60.0)[:, None], 5, "2 features or more"),
]


@pytest.mark.fault(41)
def test_fault_41_what_cannot_be_embedded_is_refused() -> None:
    for points, perplexity, problem in REFUSED:
        with pytest.raises(UsageError, match=problem):
            embed(points, perplexity)


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
    assert capfd.readouterr() == ("", "")


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


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("k", [1, 2, 5])
def test_nearest_neighbours_as_an_obvious_loop_counts_them(seed: int, k: int) -> None:
    points, labels = clustered(40, 3, classes=4, seed=seed, spread=1.0)
    expected = obvious_knn(points.astype(np.float64), labels, k)
    assert 20 < expected < 90  # ties and errors occur
    assert knn_accuracy(points, labels, k) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(2))
def test_silhouette_as_an_obvious_loop_gives_it(seed: int) -> None:
    points, labels = clustered(40, 3, seed=seed, spread=1.0)
    labels[0] = 9  # alone in its class: 0 by definition
    expected = obvious_silhouette(points.astype(np.float64), labels)
    assert silhouette(points, labels) == pytest.approx(expected, abs=1e-9)
    assert silhouette(points, np.zeros(40, int)) is None  # one class
    assert silhouette(points, np.arange(40)) is None  # singletons


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
