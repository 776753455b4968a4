"""How many images of each class a run trains on, with and without their labels. Imports no torch."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, NamedTuple

from ssl_isda.base.errors import UsageError


class ClassCounts(NamedTuple):
    """By class, in the order of the classes."""

    labeled: list[int]
    """Images whose labels are used, held-out ones included."""
    pool: list[int] | None
    """Images that are trained on without their labels, labeled ones included; None: all there are."""


@dataclass(frozen=True)
class Amounts:
    """What the settings of the same names say; at most one of the first three is set.

    labels : in all: the same number for each class, or the profile's shares where there is an imbalance
    labels_per_class : of each class, or of the largest one where there is an imbalance
    label_fraction : of each class's images, above 0, at most 1
    imbalance : ratio of the largest class to the smallest, at least 1
    imbalance_unlabeled : the same ratio of the images without labels; None: that of the labeled ones
    """

    labels: int | None = None
    labels_per_class: int | None = None
    label_fraction: float | None = None
    imbalance: float | None = None
    imbalance_unlabeled: float | None = None

    @classmethod
    def of(cls, settings: Any) -> Amounts:
        """Those of an object that has them as attributes."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})

    @property
    def takes_all_labels(self) -> bool:
        """Whether every labeled image of the pool keeps its label."""
        return self.labels is self.labels_per_class is self.label_fraction is None

    @property
    def asked(self) -> str:
        """How a sentence about the number of labels begins."""
        if self.labels_per_class is not None:
            return f"--labels-per-class {self.labels_per_class} gives"
        if self.label_fraction is not None:
            return f"--label-fraction {self.label_fraction:g} gives"
        return "all are" if self.labels is None else "--labels are"

    def of_classes(self, dataset: str, available: Sequence[int]) -> ClassCounts:
        """The numbers for classes of which so many images are available.

        Without an imbalance every class gives the same number, or the same fraction of its images,
        rounded down but at least one. With an imbalance ``long_tailed`` says how many images of each
        class there are, and each amount is taken from them.

        Raises
        ------
        UsageError
            A class has no labeled image, or fewer than are asked for.
        """
        if min(available) == 0:
            raise UsageError(f"{dataset}: a class has no labeled training image")
        if self.imbalance is None:
            return ClassCounts(self._labeled(dataset, available), None)
        pool_ratio = self.imbalance_unlabeled or self.imbalance
        pool = long_tailed(available, pool_ratio)
        return ClassCounts(self._long_tailed_labeled(dataset, available), pool)

    def _labeled(self, dataset: str, available: Sequence[int]) -> list[int]:
        if self.labels is not None:
            check_label_count(dataset, self.labels, len(available), min(available))
            return [self.labels // len(available)] * len(available)
        if self.labels_per_class is not None:
            self._check_per_class(dataset, "rarest", min(available))
            return [self.labels_per_class] * len(available)
        return self._fraction_of(available)

    def _long_tailed_labeled(self, dataset: str, available: Sequence[int]) -> list[int]:
        assert self.imbalance is not None
        counts = long_tailed(available, self.imbalance)
        if self.labels is not None:
            if not len(counts) <= self.labels <= sum(counts):
                raise UsageError(
                    f"--labels {self.labels}: with --imbalance {self.imbalance:g} {dataset} has "
                    f"{len(counts)} to {sum(counts)} labels"
                )
            return _shares(self.labels, counts)
        if self.labels_per_class is not None:
            self._check_per_class(dataset, "first", counts[0])
            return profile(self.labels_per_class, self.imbalance, len(counts))
        return self._fraction_of(counts)

    def _check_per_class(self, dataset: str, which: str, most: int) -> None:
        assert self.labels_per_class is not None
        if self.labels_per_class > most:
            raise UsageError(
                f"--labels-per-class {self.labels_per_class}: the {which} class of {dataset} has "
                f"{most} labeled image{'s' * (most > 1)}; valid are 1 to {most}"
            )

    def _fraction_of(self, counts: Sequence[int]) -> list[int]:
        """Decimal arithmetic: 0.29 of 100 is 29, although 0.29 * 100 < 29 in binary."""
        share = 1 if self.label_fraction is None else Fraction(str(self.label_fraction))
        return [max(1, int(share * count)) for count in counts]


def check_label_count(dataset: str, labels: int, num_classes: int, fewest_per_class: int) -> None:
    """Refuse ``labels`` unless it is ``num_classes`` times 1 to ``fewest_per_class``.

    Raises
    ------
    UsageError
        Says what was asked for, what is valid, and the valid numbers next to it.
    """
    most = num_classes * fewest_per_class
    if num_classes <= labels <= most and labels % num_classes == 0:
        return
    below = min(max(labels - labels % num_classes, num_classes), most)
    above = min(max(below, below + num_classes * (labels > below)), most)
    nearest = " or ".join(str(number) for number in sorted({below, above}))
    raise UsageError(
        f"{labels} labels: {dataset} has {num_classes} classes, the rarest with "
        f"{fewest_per_class} images, and each gets the same number of labels; valid are the "
        f"multiples of {num_classes} from {num_classes} to {most}, the nearest is {nearest}"
    )


def profile(largest: int, ratio: float, num_classes: int) -> list[int]:
    """n_k = largest * ratio ** (-k / (C - 1)) for k = 0 ... C - 1, rounded down but at least 1.

    The exponential profile of Cao, Wei, Gaidon, Arechiga, Ma: Learning Imbalanced Datasets with
    Label-Distribution-Aware Margin Loss, NeurIPS 2019, which CReST and DARP use for both parts. The
    numbers are exact: the largest n with n ** (C - 1) * ratio ** k <= largest ** (C - 1).
    """
    last, exact = num_classes - 1, Fraction(str(ratio))

    def fits(n: int, k: int) -> bool:
        left: int = n**last * exact.numerator**k
        right: int = largest**last * exact.denominator**k
        return left <= right

    counts = []
    for k in range(num_classes):
        n = int(largest * float(ratio) ** (-k / last))
        while fits(n + 1, k):
            n += 1
        while not fits(n, k):
            n -= 1
        counts.append(max(1, n))
    return counts


def long_tailed(available: Sequence[int], ratio: float) -> list[int]:
    """The largest ``profile`` of this ratio for which every class has enough images.

    The first class is the largest. Where all classes have the same number of images, it keeps all of
    its own.
    """

    def exceeds(largest: int) -> bool:
        wanted = profile(largest, ratio, len(available))
        return any(n > there for n, there in zip(wanted, available, strict=True))

    if not exceeds(available[0]):
        return profile(available[0], ratio, len(available))
    sizes = range(1, available[0] + 1)
    return profile(bisect.bisect_left(sizes, True, key=exceeds), ratio, len(available))


def _shares(total: int, counts: Sequence[int]) -> list[int]:
    """``total`` divided in proportion to ``counts``, whole numbers, at least one for each."""
    whole = sum(counts)
    shares = [max(1, total * count // whole) for count in counts]

    def excess(k: int) -> int:
        return shares[k] * whole - total * counts[k]

    while sum(shares) < total:
        shares[min(range(len(counts)), key=excess)] += 1
    while sum(shares) > total:
        shares[max((k for k in range(len(counts)) if shares[k] > 1), key=excess)] -= 1
    return shares
