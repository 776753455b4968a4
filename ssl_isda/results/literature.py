"""What is published of FixMatch and its kin, in the protocol that each figure belongs to.

The figures are in ``literature.yaml``. They are means over runs that were counted in different ways, of
networks and data that differ: a run of ours stands beside a figure only where data set, labels, method
and network are the same, each protocol by itself, and its difference is taken from what that protocol
counts. Their settings are those of ``configs/modern.yaml``.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_isda.results.paper import Figure, cell_of, printed_estimate

FILE = Path(__file__).with_suffix(".yaml")
RECIPE = "modern"
"""The settings file of all of them."""


@dataclass(frozen=True)
class Protocol:
    """How runs were made and counted."""

    name: str
    best: bool
    """Whether a run counts with the smallest test error of all its tests; else with its last ones."""
    words: str


@functools.cache
def protocols() -> Mapping[str, Protocol]:
    """All of them by name."""
    return {name: Protocol(name, **fields) for name, fields in _content()["protocols"].items()}


@functools.cache
def published() -> tuple[Figure, ...]:
    """All figures, protocol by protocol; ``table`` is the name of the protocol."""
    return tuple(figure for table in _content()["tables"] for figure in _of_table(table))


def published_for(settings: Mapping[str, object]) -> list[Figure]:
    """The figures for runs with these settings, at most one of each protocol."""
    return [figure for figure in _by_cell().get(cell_of(settings), ()) if figure.fits(settings)]


@functools.cache
def _by_cell() -> Mapping[object, Sequence[Figure]]:
    found: dict[object, list[Figure]] = defaultdict(list)
    for figure in published():
        found[cell_of(figure.place)].append(figure)
    return found


@functools.cache
def _content() -> Mapping[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content: Mapping[str, Any] = yaml.load(FILE.read_text("utf-8"), loader)
    return content


def _of_table(table: Mapping[str, Any]) -> Iterator[Figure]:
    for method, *errors in table["rows"]:
        for (dataset, labels), error in zip(table["columns"], errors, strict=True):
            if error is None:
                continue
            settings = {k: v for k, v in table["settings"].items() if k != "svhn_extra"}
            if dataset == "svhn":
                settings["svhn_extra"] = table["settings"]["svhn_extra"]
            place = {"dataset": dataset, "labels": labels, "method": method, "isda": False}
            estimate = printed_estimate(error, table["runs"])
            yield Figure(table["protocol"], estimate, {**place, **settings}, RECIPE)
