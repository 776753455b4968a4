"""Predictions as one page to look through: where the network doubts, is sure, and is wrong."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_isda import __version__
from ssl_isda.base.words import printed
from ssl_isda.commands.predict.judged import UNKNOWN, Judged
from ssl_isda.data.inputs import Inputs
from ssl_isda.data.vectors.inputs import Vectors
from ssl_isda.results.html import data_url, rendered

TEMPLATE = "page.html.j2"
SIDE = 128
"""Pixels of a thumbnail's longer side."""
SMALL = 64
"""Images up to this side keep every pixel."""
MOST_UNCERTAIN, MOST_MISTAKES = 24, 48
MOST_OF_A_CLASS, MOST_OF_ALL_CLASSES = 8, 240
MOST_IN_A_TABLE = 20
"""Classes beyond which the confusion matrix is a picture."""
NUM_CONFUSED = 10
LONGEST_NAME = 48
"""Letters of a file's name."""


@dataclass(frozen=True)
class Card:
    """One input on the page."""

    name: str
    picture: str
    """As a data URL; empty where there is nothing to see."""
    told: list[str]
    """What is said in its place, line by line."""
    is_small: bool
    first: str
    second: str
    known: str
    """The true class if it is known and another one, else empty."""
    probability: float
    second_probability: float


def html_page(judged: Judged, parts: Sequence[Inputs], unsure: float | None) -> str:
    """The whole page; names of files and classes are escaped."""

    def cards(places: Iterable[int]) -> list[Card]:
        return [_card(judged, parts, place) for place in places]

    by_certainty = np.argsort(judged.probability, kind="stable")
    mistakes = [k for k in by_certainty[::-1] if judged.is_mistake[k]]
    of_classes = [(name, count, cards(best)) for name, count, best in _best(judged, by_certainty)]
    return rendered(
        Path(__file__).with_name(TEMPLATE),
        {"short": short},
        summary=judged.in_words(unsure),
        uncertain=cards(by_certainty[:MOST_UNCERTAIN]),
        mistakes=cards(mistakes[:MOST_MISTAKES]),
        num_mistakes=len(mistakes),
        num_known=judged.num_known,
        classes=of_classes,
        never=sorted({*judged.class_names} - {name for name, *_ in of_classes}),
        class_names=judged.class_names,
        counts=judged.confusion().tolist(),
        matrix=_matrix(judged),
        confused=_most_confused(judged),
        unsure=unsure,
        of_vectors=any(isinstance(part, Vectors) for part in parts),
        version=__version__,
    )


def short(name: str) -> str:
    """A file's own name, without the middle where it is long."""
    own = name.rpartition("/")[2]
    half = LONGEST_NAME // 2
    return own if len(own) <= LONGEST_NAME else f"{own[:half]}…{own[-half:]}"


def _best(judged: Judged, by_certainty: np.ndarray) -> list[tuple[str, int, np.ndarray]]:
    """Of each class that was predicted: its name, how often, and the places of the most certain."""
    predicted = judged.first[by_certainty]
    found = [
        (name, by_certainty[predicted == k][::-1]) for k, name in enumerate(judged.class_names)
    ]
    found = [(name, places) for name, places in found if len(places)]
    most = max(2, min(MOST_OF_A_CLASS, MOST_OF_ALL_CLASSES // max(1, len(found))))
    return [(name, len(places), places[:most]) for name, places in found]


def _card(judged: Judged, parts: Sequence[Inputs], place: int) -> Card:
    part, place_in_part = judged.origin[place]
    pixels = parts[part].picture(int(place_in_part), SIDE)
    known, first, names = judged.known[place], judged.first[place], judged.class_names
    return Card(
        name=printed(judged.names[place]),
        picture="" if pixels is None else _data_url(pixels),
        told=parts[part].told(int(place_in_part)) if pixels is None else [],
        is_small=pixels is not None and max(pixels.shape[1:]) <= SMALL,
        first=names[first],
        second=names[judged.second[place]],
        known="" if known in (UNKNOWN, first) else names[known],
        probability=float(judged.probability[place]),
        second_probability=float(judged.probability[place] - judged.margin[place]),
    )


def _data_url(pixels: np.ndarray) -> str:
    from PIL import Image

    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    kind = "png" if max(image.size) <= SMALL else "jpeg"
    content = io.BytesIO()
    image.save(content, format=kind)
    return data_url(kind, content.getvalue())


def _matrix(judged: Judged) -> str:
    """The confusion matrix of many classes as a picture; nothing for few, and where none is known."""
    if len(judged.class_names) <= MOST_IN_A_TABLE or not judged.num_known:
        return ""
    from ssl_isda.results.figures import matrix_figure

    counts = judged.confusion()
    return data_url("svg+xml", matrix_figure(100 * counts / counts.sum(1, keepdims=True).clip(1)))


def _most_confused(judged: Judged) -> list[tuple[str, str, int]]:
    """True class, predicted class and number of the most frequent mistakes."""
    counts, names = judged.confusion(), judged.class_names
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:NUM_CONFUSED]
    pairs = zip(*np.unravel_index(order, counts.shape), strict=True)
    return [(names[i], names[j], int(counts[i, j])) for i, j in pairs if counts[i, j]]
