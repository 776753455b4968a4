"""What a class varies along, without a generator: the training images that lie furthest each way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ssl_isda import __version__
from ssl_isda.base.words import printed
from ssl_isda.commands.visualize.directions import furthest, principal
from ssl_isda.commands.visualize.trained_run import TrainedRun
from ssl_isda.results.html import data_url, rendered
from ssl_isda.results.mosaic import Row, mosaic, png

FILES = ("neighbours.png", "neighbours.html", "neighbours.json")
MOST_IN_THE_PICTURE = 10
"""Classes; the page has all."""


@dataclass(frozen=True)
class Line:
    """One direction of a class, with the training images that lie furthest along it, each way."""

    class_name: str
    direction: int
    """From 1 on, the one of the largest variance first."""
    variance: float
    share: float
    """Of the class's whole variance."""
    below: list[int]
    """Places of training images, the furthest first; ``above`` the other way."""
    above: list[int]
    distances_below: list[float]
    """In standard deviations of the class's training images along the direction."""
    distances_above: list[float]


def lines_of(run: TrainedRun, classes: Sequence[int], directions: int, most: int) -> list[Line]:
    """Every direction of every class."""
    return [line for c in classes for line in _lines_of_class(run, c, directions, most)]


def _lines_of_class(run: TrainedRun, c: int, directions: int, most: int) -> Iterator[Line]:
    members = (run.train_classes == c).nonzero().flatten()
    if len(members) < 2:
        return
    features = run.train_features[members].double()
    found = principal(run.covariances.of(c), directions)
    for k, (vector, variance, share) in enumerate(zip(*found, strict=True), 1):
        far = furthest(features, vector, most)
        yield Line(
            *(run.class_names[c], k, float(variance), float(share)),
            below=members[far.below].tolist(),
            above=members[far.above].tolist(),
            distances_below=far.distances_below,
            distances_above=far.distances_above,
        )


def files(run: TrainedRun, lines: Sequence[Line]) -> dict[str, str | bytes]:
    """The picture, the page and the numbers by name."""
    pixels = [_pixels(run, line) for line in lines]
    shown = list(dict.fromkeys(line.class_name for line in lines))[:MOST_IN_THE_PICTURE]
    rows = [
        Row(f"{printed(line.class_name)[:16]}, {line.direction}", _with_a_gap(*pixels[k]))
        for k, line in enumerate(lines)
        if line.class_name in shown
    ]
    told = {
        "run": printed(run.path),
        "covariances": run.covariances.told,
        "training_images": len(run.train_classes),
    }
    numbers = {**told, "directions": [asdict(line) for line in lines]}
    page = rendered(
        Path(__file__).with_name("neighbours.html.j2"),
        {},
        **told,
        lines=[(line, *map(_urls, pixels[k])) for k, line in enumerate(lines)],
        version=__version__,
    )
    contents = (mosaic(rows), page, json.dumps(numbers, indent=2) + "\n")
    return dict(zip(FILES, contents, strict=True))


def _pixels(run: TrainedRun, line: Line) -> tuple[np.ndarray, np.ndarray]:
    """From the furthest below to its end nearest the mean, then from there to the furthest above."""
    return run.train_pixels(line.below), run.train_pixels(line.above[::-1])


def _with_a_gap(below: np.ndarray, above: np.ndarray) -> list[np.ndarray | None]:
    return [*below, None, *above]


def _urls(pixels: np.ndarray) -> list[str]:
    return [data_url("png", png(each)) for each in pixels]
