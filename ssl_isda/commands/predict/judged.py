"""What a network said of every input: its first and second class, and the true one where it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ssl_isda.data.inputs import Inputs
from ssl_isda.models.contract import Prediction

UNKNOWN = -1


@dataclass(frozen=True)
class Judged:
    """n inputs, in order.

    names : of each, where a person finds it
    origin : (n, 2) int64, in which part of the inputs it is, and at which place
    first, second : (n,) int64, the two most probable classes
    probability, margin : (n,) float32, of the first class, and how far the second one is below it
    known : (n,) int64, the true classes; ``UNKNOWN`` where nobody said
    """

    class_names: tuple[str, ...]
    names: list[str]
    origin: np.ndarray
    first: np.ndarray
    second: np.ndarray
    probability: np.ndarray
    margin: np.ndarray
    known: np.ndarray

    @property
    def is_mistake(self) -> np.ndarray:
        """(n,) bool."""
        mistakes: np.ndarray = (self.known != UNKNOWN) & (self.known != self.first)
        return mistakes

    @property
    def num_known(self) -> int:
        """Inputs whose true class is known."""
        return int((self.known != UNKNOWN).sum())

    def in_words(self, unsure: float | None) -> str:
        """How many there are, how many are unsure, and the error where classes are known."""
        words = [f"{len(self.names):,} predicted"]
        if unsure is not None:
            count = int((self.probability < unsure).sum())
            words.append(f"{count:,} unsure (probability below {unsure:g})")
        if self.num_known:
            error = 100 * self.is_mistake.sum() / self.num_known
            words.append(f"error {error:.2f} % of {self.num_known:,} whose class is known")
        return "; ".join(words)

    def confusion(self) -> np.ndarray:
        """(c, c) int64: true classes in rows, predicted ones in columns."""
        counts = np.zeros((len(self.class_names),) * 2, np.int64)
        is_known = self.known != UNKNOWN
        np.add.at(counts, (self.known[is_known], self.first[is_known]), 1)
        return counts


class Gathering:
    """Predictions as they come, of which only a few numbers each are kept."""

    def __init__(
        self, class_names: tuple[str, ...], parts: Sequence[Inputs], labels: Sequence[Tensor]
    ) -> None:
        self.class_names, self.parts, self.labels = class_names, parts, labels
        self._names: list[str] = []
        self._numbers: list[list[Tensor]] = []

    def add(self, number: int, places: Tensor, prediction: Prediction) -> None:
        """One batch, of these places in the part of this number."""
        logits = prediction.logits
        first = logits.argmax(1, keepdim=True)
        second = logits.scatter(1, first, -torch.inf).argmax(1, keepdim=True)
        probabilities = logits.softmax(1)
        largest, next_largest = probabilities.gather(1, first), probabilities.gather(1, second)
        columns = (first, second, largest, largest - next_largest)
        origin = torch.stack([torch.full_like(places, number), places], dim=1)
        self._names += [self.parts[number].names[k] for k in places]
        known = self.labels[number][places]
        self._numbers.append([origin, *(each[:, 0] for each in columns), known])

    def judged(self) -> Judged:
        """All of them; of none at all nothing can be said."""
        columns = [torch.cat(parts).numpy() for parts in zip(*self._numbers, strict=True)]
        return Judged(self.class_names, self._names, *columns)

    @property
    def is_empty(self) -> bool:
        """Whether nothing came."""
        return not self._names
