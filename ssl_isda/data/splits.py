"""Which training images keep their labels: drawn once, class-balanced, kept in a small JSON file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import write_atomically
from ssl_isda.data.facts import check_label_count

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Split:
    """The division of one data set's training images, by index, ascending.

    labeled : images whose labels are used
    validation : images held out of training altogether, to choose hyper-parameters by
    checksum : the fingerprint of the training images it belongs to
    """

    dataset: str
    checksum: str
    seed: int
    labeled: tuple[int, ...]
    validation: tuple[int, ...] = ()

    def unlabeled_pool(self, num_images: int) -> Tensor:
        """(U,) int64: every training image, labeled ones included, except validation images."""
        in_pool = torch.ones(num_images, dtype=torch.bool)
        in_pool[list(self.validation)] = False
        return in_pool.nonzero().flatten()

    def unlabeled_sample(self, num_images: int, most: int) -> Tensor:
        """Up to ``most`` images whose labels are hidden, spread evenly over the training images."""
        in_pool = torch.ones(num_images, dtype=torch.bool)
        in_pool[[*self.labeled, *self.validation]] = False
        hidden = in_pool.nonzero().flatten()
        return hidden[:: max(1, -(-len(hidden) // most))]

    def save(self, path: Path) -> None:
        """Write the split to ``path``, whole or not at all.

        Raises
        ------
        OutputFailed
            The file cannot be written.
        """
        content = {"version": FORMAT_VERSION, **asdict(self)}
        text = json.dumps({**content, "digest": _digest(content)})
        write_atomically(Path(path), f"{text}\n".encode())


def make_split(
    labels: Tensor | np.ndarray,
    *,
    num_classes: int,
    num_labels: int | None,
    seed: int,
    dataset: str,
    checksum: str,
    validation_fraction: float = 0.0,
) -> Split:
    """Draw ``num_labels / num_classes`` labeled images of each class; ``None``: all of them.

    Within a class, images stand in the order of SHA-256(f"{seed}/{index}"), which no machine, library
    or version changes, and the first ones are taken; so fewer labels are a subset of more. Of each
    class's labels the last ``validation_fraction``, rounded down but at least one, are held out.

    Parameters
    ----------
    labels : (N,), integers; -1 where an image has none

    Raises
    ------
    UsageError
        The number cannot be drawn, a class has no labeled image, or none is left to train on.
    """
    members = _members(labels, num_classes)
    fewest = min(len(indices) for indices in members)
    if fewest == 0:
        raise UsageError(f"{dataset}: a class has no labeled training image")
    if num_labels is not None:
        check_label_count(dataset, num_labels, num_classes, fewest)
    labeled: list[int] = []
    validation: list[int] = []
    for indices in members:
        chosen = sorted(indices, key=lambda index: _rank(seed, index))
        if num_labels is not None:
            chosen = chosen[: num_labels // num_classes]
        num_held_out = _num_held_out(len(chosen), validation_fraction)
        labeled += chosen[: len(chosen) - num_held_out]
        validation += chosen[len(chosen) - num_held_out :]
    return Split(dataset, checksum, seed, tuple(sorted(labeled)), tuple(sorted(validation)))


def load_split(path: Path, *, dataset: str, checksum: str, labels: Tensor | np.ndarray) -> Split:
    """Read a split and hold it against the data that it is to divide.

    Parameters
    ----------
    labels : (N,), integers, of all training images; -1 where an image has none

    Raises
    ------
    UsageError
        Not a split file, changed since it was written, of another version, data set or checksum; or
        its indices are no valid division of N images. The text names the file.
    """
    label_list = np.asarray(labels).tolist()
    content = _read_content(Path(path), num_images=len(label_list))
    try:
        return _checked_split(content, dataset, checksum, label_list)
    except ValueError as error:
        raise UsageError(f"the split {path} cannot be used: {error}") from error


def check_split(
    path: Path,
    split: Split,
    labels: Tensor | np.ndarray,
    num_labels: int | None,
    validation: bool,
) -> None:
    """Hold a split against the settings of the run that is to use it.

    Parameters
    ----------
    labels : (N,), integers, of all training images; -1 where an image has none
    num_labels : that the run is said to have, held-out ones included; ``None``: all
    validation : whether the run is said to hold some out

    Raises
    ------
    UsageError
        Another number of labels, or images held out where none should be, or none where some should.
    """
    found = len(split.labeled) + len(split.validation)
    wanted = int((np.asarray(labels) >= 0).sum()) if num_labels is None else num_labels
    if found != wanted:
        raise UsageError(
            f"the split {path} has {found} labels; "
            f"{'all' if num_labels is None else '--labels'} are {wanted}: give --labels {found}"
        )
    if validation != bool(split.validation):
        there, advice = (
            ("holds out images", "give --validation")
            if split.validation
            else ("holds out no images", "leave --validation out")
        )
        raise UsageError(f"the split {path} {there}: {advice}")


def _members(labels: Tensor | np.ndarray, num_classes: int) -> list[list[int]]:
    array = np.asarray(labels)
    return [np.flatnonzero(array == label).tolist() for label in range(num_classes)]


def _rank(seed: int, index: int) -> bytes:
    return hashlib.sha256(f"{seed}/{index}".encode()).digest()


def _num_held_out(num_chosen: int, fraction: float) -> int:
    """Decimal arithmetic: 0.29 of 100 is 29, although 0.29 * 100 < 29 in binary."""
    if fraction == 0:
        return 0
    num_held_out = max(1, int(Fraction(str(fraction)) * num_chosen))
    if num_held_out >= num_chosen:
        raise UsageError(
            f"holding out {fraction:g} of {num_chosen} labels of a class for validation leaves none "
            "to train on; use more labels or a smaller part"
        )
    return num_held_out


def _digest(content: dict[str, Any]) -> str:
    """SHA-256 over the content in one fixed spelling."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _read_content(path: Path, num_images: int) -> dict[str, Any]:
    """The file's JSON object. A size that no split of ``num_images`` reaches is not even read."""
    try:
        if path.stat().st_size > 10_000 + 20 * num_images:
            raise UsageError(f"{path} is too large for a split of {num_images} images")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the split {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a split file: it is no JSON text") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not a split file: it is no JSON object")
    return content


def _checked_split(
    content: dict[str, Any], dataset: str, checksum: str, labels: Sequence[int]
) -> Split:
    if content.get("version") != FORMAT_VERSION:
        raise ValueError(f"its version is not {FORMAT_VERSION}")
    names = {"version", "digest", *Split.__dataclass_fields__}
    if content.keys() != names:
        raise ValueError(f"it must hold {', '.join(sorted(names))} and nothing else")
    if content.pop("digest") != _digest(content):
        raise ValueError("it was changed after it was written (its digest is wrong)")
    if content["dataset"] != dataset:
        raise ValueError(f"it is for {content['dataset']!r}, not for {dataset!r}")
    if content["checksum"] != checksum:
        raise ValueError(
            f"it was drawn from other images (digest {content['checksum']} in it, {checksum} of "
            f"{dataset} now)"
        )
    if type(content["seed"]) is not int:
        raise ValueError("its seed is not an integer")
    labeled = _indices(content["labeled"], "labeled", len(labels))
    validation = _indices(content["validation"], "validation", len(labels))
    _check_division(labeled, validation, labels)
    return Split(dataset, checksum, content["seed"], labeled, validation)


def _indices(value: Any, what: str, num_images: int) -> tuple[int, ...]:
    if not isinstance(value, list) or any(type(index) is not int for index in value):
        raise ValueError(f"its {what} indices are not a list of integers")
    if value != sorted(set(value)):
        raise ValueError(f"its {what} indices are not ascending, or one occurs twice")
    if value and not (value[0] >= 0 and value[-1] < num_images):
        raise ValueError(f"its {what} indices go beyond the {num_images} training images")
    return tuple(value)


def _check_division(
    labeled: Sequence[int], validation: Sequence[int], labels: Sequence[int]
) -> None:
    if set(labeled) & set(validation):
        raise ValueError("an image is both labeled and held out for validation")
    if any(labels[index] < 0 for index in (*labeled, *validation)):
        raise ValueError("it names an image that has no label")
    missing = set(labels) - {-1} - {labels[index] for index in labeled}
    if missing:
        raise ValueError(f"class {min(missing)} has no labeled image in it")
