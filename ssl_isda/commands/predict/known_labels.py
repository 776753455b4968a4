"""The true classes of inputs, as far as the names of folders or an array ``y`` tell them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_isda.commands.predict.judged import UNKNOWN
from ssl_isda.data.folder.classes import as_read
from ssl_isda.data.images.paths import TABLES, FoundFiles
from ssl_isda.data.inputs import ImageFiles, Inputs, array_in
from ssl_isda.data.vectors.inputs import Vectors


def known_labels(
    found: FoundFiles, parts: Sequence[Inputs], class_names: Sequence[str]
) -> list[Tensor]:
    """For each part the class of each of its n inputs, (n,) int64; ``UNKNOWN`` where nobody said.

    Raises
    ------
    UsageError
        An array y is of another length than its X.
    """
    arrays = iter(found.arrays)
    labels = [
        of_folders(found.folders, class_names)
        if isinstance(part, ImageFiles)
        else of_array(_entries(next(arrays), part), class_names)
        for part in parts
    ]
    return [torch.tensor(each, dtype=torch.int64) for each in labels]


def _entries(path: Path, part: Inputs) -> np.ndarray:
    """What a file of arrays, or a table, has as labels."""
    if path.suffix.lower() not in TABLES:
        return array_in(path, "y", like=part.names)
    entries = part.entries if isinstance(part, Vectors) else None
    return np.full(len(part.names), UNKNOWN) if entries is None else np.asarray(entries)


def of_folders(folders: Sequence[Sequence[str]], class_names: Sequence[str]) -> list[int]:
    """The class that the nearest of the folders around each image is named after."""
    places = {as_read(name): place for place, name in enumerate(class_names)}

    def label(around: Sequence[str]) -> int:
        named = (places.get(as_read(name), UNKNOWN) for name in reversed(around))
        return next((place for place in named if place != UNKNOWN), UNKNOWN)

    return [label(around) for around in folders]


def of_array(labels: np.ndarray, class_names: Sequence[str]) -> list[int]:
    """The classes that the entries name or, if they are integers and name none, number."""
    places = {as_read(name): place for place, name in enumerate(class_names)}
    entries = labels.tolist()
    found = [places.get(as_read(str(each)), UNKNOWN) for each in entries]
    if np.issubdtype(labels.dtype, np.integer) and set(found) <= {UNKNOWN}:
        return [k if 0 <= k < len(class_names) else UNKNOWN for k in entries]
    return found
