"""Which training images keep their labels: drawn once, class by class, kept in a small JSON file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import write_atomically
from ssl_isda.data.amounts import Amounts, ClassCounts

FORMAT_VERSION = 1
"""Of a file that names what every split has."""
NEWER_VERSION, NEWER_FIELDS = 2, ("pool", "test")
"""Of a file that names one of these fields, too."""


@dataclass(frozen=True)
class Split:
    """The division of one data set's training images, by index, ascending.

    labeled : images whose labels are used
    validation : images held out of training altogether, to choose hyper-parameters by
    checksum : the fingerprint of the training images it belongs to
    pool : images that are trained on without their labels, as far as they are not held out, where these
        are not all training images
    test : the test images, as ``ImageData.drawn_test``
    """

    dataset: str
    checksum: str
    seed: int
    labeled: tuple[int, ...]
    validation: tuple[int, ...] = ()
    pool: tuple[int, ...] | None = None
    test: tuple[int, ...] | None = None

    def unlabeled_pool(self, num_images: int) -> Tensor:
        """(U,) int64: the pool, or every training image, labeled ones included, except validation
        images."""
        return self._in_pool(num_images, self.validation).nonzero().flatten()

    def unlabeled_sample(self, num_images: int, most: int) -> Tensor:
        """Up to ``most`` images whose labels are hidden, spread evenly over the pool."""
        hidden = self._in_pool(num_images, (*self.labeled, *self.validation)).nonzero().flatten()
        return hidden[:: max(1, -(-len(hidden) // most))]

    def _in_pool(self, num_images: int, left_out: Sequence[int]) -> Tensor:
        in_pool = torch.full((num_images,), self.pool is None)
        in_pool[list(self.pool or ())] = True
        in_pool[list(left_out)] = False
        return in_pool

    def save(self, path: Path) -> None:
        """Write the split to ``path``, whole or not at all.

        Raises
        ------
        OutputFailed
            The file cannot be written.
        """
        newer = {name for name in NEWER_FIELDS if getattr(self, name) is not None}
        older = [name for name in self.__dataclass_fields__ if name not in NEWER_FIELDS]
        version = NEWER_VERSION if newer else FORMAT_VERSION
        named = {name: getattr(self, name) for name in (*older, *sorted(newer))}
        content = {"version": version, **named}
        text = json.dumps({**content, "digest": _digest(content)})
        write_atomically(Path(path), f"{text}\n".encode())


def make_split(
    labels: Tensor | np.ndarray,
    *,
    num_classes: int,
    amounts: Amounts,
    seed: int,
    dataset: str,
    checksum: str,
    validation_fraction: float = 0.0,
    test: Sequence[int] | None = None,
) -> Split:
    """Draw as many labeled images of each class, and as large a pool, as ``amounts`` say.

    Within a class, images stand in the order of SHA-256(f"{seed}/{index}"), which no machine, library
    or version changes, and the first ones are taken; so fewer labels are a subset of more, and smaller
    pools of larger ones. Of each class's labels the last ``validation_fraction``, rounded down but at
    least one, are held out; a single one is not.

    Parameters
    ----------
    labels : (N,), integers; -1 where an image has none; no such image is in a long-tailed pool
    test : as in ``Split``

    Raises
    ------
    UsageError
        The numbers cannot be drawn, a class has no labeled image, or none is left to train on.
    """
    members = _members(labels, num_classes)
    counts = amounts.of_classes(dataset, [len(indices) for indices in members])
    labeled: list[int] = []
    validation: list[int] = []
    pool: list[int] | None = None if counts.pool is None else []
    for label, indices in enumerate(members):
        ordered = sorted(indices, key=lambda index: _rank(seed, index))
        chosen = ordered[: counts.labeled[label]]
        num_held_out = _num_held_out(len(chosen), validation_fraction)
        labeled += chosen[: len(chosen) - num_held_out]
        validation += chosen[len(chosen) - num_held_out :]
        if pool is not None and counts.pool is not None:
            pool += ordered[: counts.pool[label]]
    if validation_fraction and not validation:
        raise _nothing_left(validation_fraction, 1)
    return Split(
        dataset,
        checksum,
        seed,
        labeled=tuple(sorted(labeled)),
        validation=tuple(sorted(validation)),
        pool=None if pool is None else tuple(sorted(pool)),
        test=None if test is None else tuple(test),
    )


def load_split(
    path: Path,
    *,
    dataset: str,
    checksum: str,
    labels: Tensor | np.ndarray,
    test: Sequence[int] | None = None,
) -> Split:
    """Read a split and hold it against the data that it is to divide.

    Parameters
    ----------
    labels : (N,), integers, of all training images; -1 where an image has none
    test : the test images there are now, as in ``Split``

    Raises
    ------
    UsageError
        Not a split file, changed since it was written, of another version, data set, checksum or test
        set; or its indices are no valid division of N images. The text names the file.
    """
    label_list = np.asarray(labels).tolist()
    content = _read_content(Path(path), len(label_list), len(test or ()))
    try:
        _check_content(content, dataset, checksum, test)
        return _checked_split(content, label_list)
    except ValueError as error:
        raise UsageError(f"the split {path} cannot be used: {error}") from error


def check_split(
    path: Path,
    split: Split,
    labels: Tensor | np.ndarray,
    num_classes: int,
    amounts: Amounts,
    validation: bool,
) -> None:
    """Hold a split against the settings of the run that is to use it.

    Parameters
    ----------
    labels : (N,), integers, of all training images; -1 where an image has none
    amounts : that the run is said to have, held-out images included
    validation : whether the run is said to hold some out

    Raises
    ------
    UsageError
        Another number of labels, in all or of a class, or another pool, or images held out where none
        should be, or none where some should.
    """
    members = _members(labels, num_classes)
    wanted = amounts.of_classes(split.dataset, [len(indices) for indices in members])
    _check_labels(path, split, labels, amounts, sum(wanted.labeled))
    if (split.pool is None) != (wanted.pool is None):
        there, advice = (
            ("has no long-tailed pool", "leave --imbalance out")
            if split.pool is None
            else ("has a long-tailed pool", "give the --imbalance that it was drawn with")
        )
        raise UsageError(f"the split {path} {there}: {advice}")
    if split.pool is not None and wanted.pool is not None and len(split.pool) != sum(wanted.pool):
        raise UsageError(
            f"the split {path} has a pool of {len(split.pool)} images; --imbalance "
            f"{amounts.imbalance:g} gives {sum(wanted.pool)}: give the one that it was drawn with"
        )
    _check_classes(path, split, labels, amounts, wanted)
    if validation != bool(split.validation):
        there, advice = (
            ("holds out images", "give --validation")
            if split.validation
            else ("holds out no images", "leave --validation out")
        )
        raise UsageError(f"the split {path} {there}: {advice}")


def _check_labels(
    path: Path, split: Split, labels: Tensor | np.ndarray, amounts: Amounts, wanted: int
) -> None:
    indices = [*split.labeled, *split.validation]
    if len(indices) == wanted:
        return
    _, of_classes = np.unique(np.asarray(labels)[indices], return_counts=True)
    advice = (
        f"give --labels {len(indices)}"
        if len(set(of_classes.tolist())) == 1 and split.pool is None
        else "give the number or fraction that it was drawn with"
    )
    raise UsageError(
        f"the split {path} has {len(indices)} labels; {amounts.asked} {wanted}: {advice}"
    )


def _check_classes(
    path: Path, split: Split, labels: Tensor | np.ndarray, amounts: Amounts, wanted: ClassCounts
) -> None:
    """Labels by class, unless ``labels`` in all were asked for, which a published fold need not have
    in equal parts; and the pool by class."""
    parts = [("labels", (*split.labeled, *split.validation), wanted.labeled)]
    if amounts.imbalance is None and amounts.labels is not None:
        parts = []
    if split.pool is not None and wanted.pool is not None:
        parts.append(("pool images", split.pool, wanted.pool))
    for what, indices, counts in parts:
        members = _members(np.asarray(labels)[list(indices)], len(counts))
        for label, (there, right) in enumerate(zip(map(len, members), counts, strict=True)):
            if there != right:
                raise UsageError(
                    f"the split {path} has {there} {what} of class {label}, and these settings give "
                    f"{right}: give the numbers and the --imbalance that it was drawn with"
                )


def _members(labels: Tensor | np.ndarray, num_classes: int) -> list[list[int]]:
    array = np.asarray(labels)
    return [np.flatnonzero(array == label).tolist() for label in range(num_classes)]


def _rank(seed: int, index: int) -> bytes:
    return hashlib.sha256(f"{seed}/{index}".encode()).digest()


def _num_held_out(num_chosen: int, fraction: float) -> int:
    """Decimal arithmetic: 0.29 of 100 is 29, although 0.29 * 100 < 29 in binary."""
    if fraction == 0 or num_chosen == 1:
        return 0
    num_held_out = max(1, int(Fraction(str(fraction)) * num_chosen))
    if num_held_out >= num_chosen:
        raise _nothing_left(fraction, num_chosen)
    return num_held_out


def _nothing_left(fraction: float, num_chosen: int) -> UsageError:
    return UsageError(
        f"holding out {fraction:g} of {num_chosen} labels of a class for validation leaves none "
        "to train on; use more labels or a smaller part"
    )


def _digest(content: dict[str, Any]) -> str:
    """SHA-256 over the content in one fixed spelling."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _read_content(path: Path, num_images: int, num_test: int) -> dict[str, Any]:
    """The file's JSON object. A size that no split of so many images reaches is not even read."""
    try:
        if path.stat().st_size > 10_000 + 20 * (2 * num_images + num_test):
            raise UsageError(f"{path} is too large for a split of {num_images} images")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the split {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a split file: it is no JSON text") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not a split file: it is no JSON object")
    return content


def _check_content(
    content: dict[str, Any], dataset: str, checksum: str, test: Sequence[int] | None
) -> None:
    """Take version and digest out of what belongs to these images, and refuse what does not."""
    newer = content.keys() & set(NEWER_FIELDS)
    version = NEWER_VERSION if newer else FORMAT_VERSION
    if content.get("version") != version:
        raise ValueError(f"its version is not {version}")
    fields = Split.__dataclass_fields__.keys() - set(NEWER_FIELDS) | newer
    names = {"version", "digest", *fields}
    if content.keys() != names:
        raise ValueError(f"it must hold {', '.join(sorted(names))} and nothing else")
    if content.pop("digest") != _digest(content):
        raise ValueError("it was changed after it was written (its digest is wrong)")
    del content["version"]
    if content["dataset"] != dataset:
        raise ValueError(f"it is for {content['dataset']!r}, not for {dataset!r}")
    now = None if test is None else [*test]
    for what, there, here in (
        ("drawn from other images", content["checksum"], checksum),
        ("made with other test images", _short(content.get("test")), _short(now)),
    ):
        if there != here:
            raise ValueError(f"it was {what} (digest {there} in it, {here} of {dataset} now)")


def _short(test: object) -> str:
    """What tells lists of test images apart."""
    return "none" if test is None else _digest({"test": test})[:16]


def _checked_split(content: dict[str, Any], labels: Sequence[int]) -> Split:
    if type(content["seed"]) is not int:
        raise ValueError("its seed is not an integer")
    for name in ("labeled", "validation", "pool"):
        if name in content:
            content[name] = _indices(content[name], name, len(labels))
    if "test" in content:
        content["test"] = tuple(content["test"])
    split = Split(**content)
    _check_division(split, labels)
    return split


def _indices(value: Any, what: str, num_images: int) -> tuple[int, ...]:
    if not isinstance(value, list) or any(type(index) is not int for index in value):
        raise ValueError(f"its {what} indices are not a list of integers")
    if value != sorted(set(value)):
        raise ValueError(f"its {what} indices are not ascending, or one occurs twice")
    if value and not (value[0] >= 0 and value[-1] < num_images):
        raise ValueError(f"its {what} indices go beyond the {num_images} training images")
    return tuple(value)


def _check_division(split: Split, labels: Sequence[int]) -> None:
    labeled, validation = split.labeled, split.validation
    if set(labeled) & set(validation):
        raise ValueError("an image is both labeled and held out for validation")
    if any(labels[index] < 0 for index in (*labeled, *validation)):
        raise ValueError("it names an image that has no label")
    missing = set(labels) - {-1} - {labels[index] for index in labeled}
    if missing:
        raise ValueError(f"class {min(missing)} has no labeled image in it")
    if split.pool is not None and not set(split.pool) - set(validation):
        raise ValueError("its pool is empty")
