"""A data set with a number of labels: what one column of a table is about, and which runs belong to it.

Runs on other images are never put together, whatever their data set is called: those whose digest is
not the one that most runs of a column have get a column of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ssl_isda.results import paper
from ssl_isda.results.runs import Run
from ssl_isda.runs.data_digest import other_images, usual_digests
from ssl_isda.settings.label_words import in_words, name_of_data

_DATASET_NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN", "stl10": "STL-10"}
_SHORT = 12
"""Characters of a digest in the name of a column."""


@dataclass(frozen=True)
class Column:
    """A data set with a number of labels."""

    dataset: str
    folder: str
    """Of the user's own data, what they are called after where they lie; else empty."""
    labels: int | None
    """None: all."""
    amounts: str = ""
    """How many labels and images of each class there are, where their number alone does not say it."""
    images: str = ""
    """The digest of its images, where most runs on this data set have another; else empty."""

    @property
    def dataset_name(self) -> str:
        name = _DATASET_NAMES.get(self.dataset, self.dataset)
        name = f"{self.folder} ({self.dataset})" if self.folder else name
        return f"{name} [digest {self.images[:_SHORT]}]" if self.images else name

    @property
    def labels_name(self) -> str:
        if self.amounts:
            return self.amounts
        return "all labels" if self.labels is None else f"{self.labels:,} labels"

    @property
    def name(self) -> str:
        return f"{self.dataset_name}, {self.labels_name}"

    @property
    def order(self) -> tuple[object, ...]:
        """The paper's columns come first, as in the paper."""
        known = paper.DATASETS
        place = known.index(self.dataset) if self.dataset in known else len(known)
        labels = self.labels is None, self.labels or 0, self.amounts
        return place, self.dataset, self.folder, *labels, self.images


def column_of(settings: Mapping[str, object]) -> Column:
    """Of runs with these settings, on whatever images most of them were made."""
    dataset, labels = str(settings["dataset"]), settings["labels"]
    folder = name_of_data(dataset, Path(str(settings["data_dir"])))
    number = labels if isinstance(labels, int) else None
    return Column(dataset, folder, number, in_words(settings))


def columns_of(runs: Sequence[Run]) -> dict[str, Column]:
    """The column of each run whose settings can be read, by the run's path."""
    return {
        run.path: replace(column, images=run.data_digest if other else "")
        for column, group in _grouped(runs).items()
        for run, other in _held_against_most(group)
    }


def odd_ones(runs: Sequence[Run]) -> list[str]:
    """A line for each run that was made on other images than most runs of its column."""
    return [
        f"{run.path}: made on other images than most runs of {column.name} "
        f"(digest {run.data_digest}, of most {other})"
        for column, group in _grouped(runs).items()
        for run, other in _held_against_most(group)
        if other
    ]


def _grouped(runs: Sequence[Run]) -> dict[Column, list[Run]]:
    grouped: dict[Column, list[Run]] = defaultdict(list)
    for run in runs:
        if run.settings:
            grouped[column_of(run.settings)].append(run)
    return grouped


def _held_against_most(group: Sequence[Run]) -> list[tuple[Run, str | None]]:
    """Each run with the usual digest of its version, if its own is another."""
    usual = usual_digests(run.data_digest for run in group)
    return [(run, other_images(run.data_digest, usual.values())) for run in group]
