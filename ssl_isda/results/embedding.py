"""Test features in two dimensions, as in Fig. 8 of ISDA, and how well the classes lie apart in numbers.

van der Maaten & Hinton, Visualizing data using t-SNE, JMLR 2008; the embedding is scikit-learn's.
"""

from __future__ import annotations

import numpy as np

from ssl_isda.base.errors import UsageError

NUM_NEIGHBOURS = 5
"""k of the nearest-neighbour accuracy."""
SEED = 0
"""Of the choice of points and of t-SNE: the same for every run, so that only networks differ."""


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
    """Check that t-SNE and the nearest neighbours can make sense of (n, a) features.

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
    core cost more than they bring. Raises what ``check_embeddable`` does.
    """
    check_embeddable(points, perplexity)
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    tsne = TSNE(init="pca", perplexity=perplexity, random_state=SEED)
    with threadpool_limits(1):
        coordinates: np.ndarray = tsne.fit_transform(_scaled(points))
    return coordinates.astype(np.float32)


def _scaled(points: np.ndarray) -> np.ndarray:
    """Centred, the largest value 1: the same picture, and no square overflows or vanishes."""
    centred = points.astype(np.float64) - points.mean(0, dtype=np.float64)
    scaled: np.ndarray = (centred / np.abs(centred).max()).astype(np.float32)
    return scaled


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
