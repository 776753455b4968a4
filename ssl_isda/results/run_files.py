"""The files of a run folder, read with distrust: what is not of the right form is damaged, never run.

Every reader takes the path of one file, gives plain numbers and text, and raises ``Damaged``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_isda.runs.metrics import headline_of

LARGEST_FILE = 64_000_000
"""Bytes; a run of 400 epochs with all metrics has 0.4 million."""
LARGEST_NUMBER = 1e100
"""A larger magnitude is taken for damage: squares of such numbers would overflow."""
MOST_CLASSES = 1000


class Damaged(Exception):
    """A file is not what a run writes; the text is one phrase that names the file."""


class Untested(Damaged):
    """A run had nothing to test on, so that it has no error to report."""


@dataclass(frozen=True)
class SplitFacts:
    """What a report tells about ``split.json``."""

    seed: int
    checksum: str
    """Of the data set that it divides."""
    digest: str
    """Of the split itself: equal digests mean equal labeled images."""
    num_labeled: int
    num_validation: int


@dataclass(frozen=True)
class LogFacts:
    """What ``log.txt`` knows and no other file does."""

    failure: str | None = None
    """Why the last attempt failed, if it did."""
    num_epochs: int | None = None
    """As many epochs as the run was to have."""
    warnings: tuple[str, ...] = ()


def number(value: object) -> float | None:
    """``value`` if it is a finite number of a sensible size, else None; true is no number."""
    if type(value) not in (int, float):
        return None
    assert isinstance(value, (int, float))
    return float(value) if -LARGEST_NUMBER <= value <= LARGEST_NUMBER else None


def read_epochs(path: Path, *, is_finished: bool) -> list[dict[str, float]]:
    """The numbers of each epoch in ``metrics.jsonl`` or ``timing.jsonl``.

    They are 1, 2, 3 ... Half a line at the end is what a killed run leaves behind, and one that has
    just begun has no file; only a finished one cannot be so.
    """
    if not is_finished and not path.exists():
        return []
    lines = _text(path).split("\n")
    if lines.pop() and is_finished:
        raise Damaged(f"{path.name} ends in the middle of a line")
    epochs = []
    for index, line in enumerate(lines, 1):
        values = _json_object(line, f"{path.name}, line {index}")
        if values.get("epoch") != index:
            raise Damaged(f"{path.name}, line {index} is not epoch {index}")
        numbers = {name: number(value) for name, value in values.items()}
        epochs.append({name: value for name, value in numbers.items() if value is not None})
    return epochs


def read_result(path: Path) -> dict[str, Any]:
    """The result of a finished run; ``error`` in it, or ``mean_iou``, is a number from 0 to 100.
    Raises ``Untested`` where there is none."""
    result = _json_object(_text(path), path.name)
    headline = headline_of(result)
    if headline.name not in result and "steps" in result:
        raise Untested("it was trained without a part to test on, so that it has no test error")
    value = number(result.get(headline.name))
    if value is None or not 0 <= value <= 100:
        raise Damaged(f"{path.name} holds no {headline.words} from 0 to 100 %")
    return result


def read_split(path: Path) -> SplitFacts:
    """Who is labeled, in short."""
    split = _json_object(_text(path), path.name)
    try:
        return SplitFacts(
            seed=int(split["seed"]),
            checksum=str(split["checksum"]),
            digest=str(split["digest"]),
            num_labeled=len(split["labeled"]),
            num_validation=len(split.get("validation", ())),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        raise Damaged(f"{path.name} is not a split file") from None


def read_log(path: Path) -> LogFacts:
    """Failure, planned length and warnings; a log that is not there knows nothing."""
    failure, num_epochs, warnings = None, None, []
    for said in _log_lines(path):
        if match := re.match(r"epoch +[0-9]+/([0-9]{1,9}) ", said):
            failure, num_epochs = None, int(match[1])
        elif said.startswith("resuming at step"):
            failure = None
        elif said.startswith("failed: "):
            failure = said.removeprefix("failed: ")
        elif said.startswith("warning: "):
            warnings.append(said.removeprefix("warning: "))
    return LogFacts(failure, num_epochs, tuple(dict.fromkeys(warnings)))


def confusion_counts(result: dict[str, Any]) -> list[list[float]] | None:
    """The counts by true class and predicted class; None if the result holds no such table."""
    rows = result.get("confusion")
    if not isinstance(rows, list) or not 2 <= len(rows) <= MOST_CLASSES:
        return None
    counts = [_counts(row) for row in rows]
    if any(len(row) != len(rows) for row in counts):
        return None
    return counts


def class_names(result: dict[str, Any], num_classes: int) -> tuple[str, ...]:
    """The names of the classes, or their numbers where the result does not name them all."""
    names = result.get("class_names")
    if isinstance(names, list) and len(names) == num_classes:
        return tuple(str(name) for name in names)
    return tuple(str(index) for index in range(num_classes))


def _counts(row: object) -> list[float]:
    """The row, or nothing if something else than counts stands in it."""
    numbers = [number(value) for value in row] if isinstance(row, list) else []
    counts = [value for value in numbers if value is not None and value >= 0]
    return counts if len(counts) == len(numbers) else []


def _log_lines(path: Path) -> Iterator[str]:
    """What was said in each line, without its time."""
    try:
        text = _text(path)
    except Damaged:
        return
    for line in text.splitlines():
        if match := re.match(r"[0-9-]{10} [0-9:]{8} (.*)", line):
            yield match[1]


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise Damaged(f"{path.name} is larger than {LARGEST_FILE // 1_000_000} MB")
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise Damaged(f"{path.name} is missing") from None
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise Damaged(f"{path.name} is not UTF-8 text") from None


def _json_object(text: str, what: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise Damaged(f"{what} is not valid JSON") from None
    if not isinstance(content, dict):
        raise Damaged(f"{what} is not a JSON object")
    return content
