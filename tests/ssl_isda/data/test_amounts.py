"""How many images of each class are labeled and in the pool."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_isda.base.errors import UsageError
from ssl_isda.data.amounts import Amounts, ClassCounts, long_tailed, profile

CIFAR = [5_000] * 10
CIFAR_LT = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
UNEVEN = [30, 7, 100]


@pytest.mark.parametrize(
    ("available", "amounts", "labeled", "pool"),
    [
        (CIFAR, {"labels": 40}, [4] * 10, None),
        (CIFAR, {"labels_per_class": 4}, [4] * 10, None),
        (UNEVEN, {"labels_per_class": 7}, [7, 7, 7], None),
        (UNEVEN, {"label_fraction": 0.1}, [3, 1, 10], None),
        (UNEVEN, {"label_fraction": 0.001}, [1, 1, 1], None),
        (UNEVEN, {"label_fraction": 1.0}, UNEVEN, None),
        (UNEVEN, {}, UNEVEN, None),
        ([100, 100], {"label_fraction": 0.29}, [29, 29], None),  # 28.999999999999996 in binary
        (CIFAR, {"imbalance": 100.0}, CIFAR_LT, CIFAR_LT),
        (CIFAR, {"imbalance": 1.0, "labels": 20}, [2] * 10, CIFAR),
        (
            CIFAR,
            {"imbalance": 100.0, "label_fraction": 0.1},  # as CReST
            [500, 299, 179, 107, 64, 38, 23, 13, 8, 5],
            CIFAR_LT,
        ),
        (
            CIFAR,
            {"imbalance": 100.0, "labels_per_class": 1_500, "imbalance_unlabeled": 1.0},  # as DARP
            [1500, 899, 539, 323, 193, 116, 69, 41, 25, 15],
            CIFAR,
        ),
        (CIFAR, {"imbalance": 100.0, "labels": 11}, [2] + [1] * 9, CIFAR_LT),
        (CIFAR, {"imbalance": 100.0, "labels": 12_406}, CIFAR_LT, CIFAR_LT),
        (CIFAR, {"imbalance": 1e6, "label_fraction": 1e-3}, [5] + [1] * 9, None),
        ([64] * 7, {"imbalance": 64.0}, [64, 32, 16, 8, 4, 2, 1], [64, 32, 16, 8, 4, 2, 1]),
        ([100, 1000, 1000], {"imbalance": 10.0}, [100, 31, 10], [100, 31, 10]),
        ([100, 20, 1000], {"imbalance": 4.0}, [41, 20, 10], [41, 20, 10]),
    ],
)
def test_numbers_of_each_class(available, amounts, labeled, pool) -> None:
    found = Amounts(**amounts).of_classes("set", available)
    assert found.labeled == labeled
    if amounts.get("imbalance") == 1e6:  # what rounds to zero is one
        assert found.pool[0] == 5000 and found.pool[7:] == [1, 1, 1]
    else:
        assert found == ClassCounts(labeled, pool)


@given(
    largest=st.integers(1, 3_000),
    ratio=st.sampled_from([1.0, 1.5, 10.0, 100.0, 256.0, 1e9]),
    num_classes=st.integers(2, 30),
)
@settings(max_examples=100, deadline=None)
def test_the_profile_is_rounded_down_exactly(largest: int, ratio: float, num_classes: int) -> None:
    counts = profile(largest, ratio, num_classes)
    assert counts[0] == largest and counts == sorted(counts, reverse=True)
    for k, count in enumerate(counts):
        whole = largest ** (num_classes - 1) / Fraction(str(ratio)) ** k
        assert count ** (num_classes - 1) <= whole or count == 1
        assert (count + 1) ** (num_classes - 1) > whole


@given(
    available=st.lists(st.integers(1, 60), min_size=2, max_size=6),
    ratio=st.floats(1, 200),
    labels=st.integers(2, 400),
)
@settings(max_examples=300, deadline=None)
def test_a_long_tail_fits_and_could_not_be_larger(available, ratio: float, labels: int) -> None:
    counts = long_tailed(available, ratio)
    larger = profile(counts[0] + 1, ratio, len(available))
    assert all(n <= there for n, there in zip(counts, available, strict=True))
    assert any(n > there for n, there in zip(larger, available, strict=True))
    if len(counts) <= labels <= sum(counts):
        shares = Amounts(labels, imbalance=ratio).of_classes("set", available).labeled
        assert sum(shares) == labels
        assert all(1 <= n <= there for n, there in zip(shares, counts, strict=True))


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    ("amounts", "says"),
    [
        ({"labels": 4}, "nearest is 3 or 6"),
        ({"labels_per_class": 8}, "--labels-per-class 8: the rarest class of set has 7 labeled"),
        ({"imbalance": 4.0, "labels": 2}, "--imbalance 4 set has 3 to 25 labels"),
        ({"imbalance": 4.0, "labels": 29}, "--imbalance 4 set has 3 to 25 labels"),
        (
            {"imbalance": 4.0, "labels_per_class": 17},
            "the first class of set has 15 labeled images",
        ),
    ],
)
def test_fault_24_numbers_that_are_not_there(amounts: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Amounts(**amounts).of_classes("set", UNEVEN)
    with pytest.raises(UsageError, match="a class has no labeled training image"):
        Amounts(**amounts).of_classes("set", [3, 0, 3])
