from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_isda.base.errors import UsageError
from ssl_isda.data.facts import FACTS, check_label_count, check_labels, dataset_names

ROOT = Path(__file__).parents[3]


def test_names() -> None:
    assert dataset_names() == ["cifar10", "cifar100", "svhn", "digits", "folder"]


def test_torch_and_pillow_stay_unloaded() -> None:
    code = "import sys, ssl_isda.data.facts; print(*({'torch', 'PIL', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    ("dataset", "labels", "says"),
    [
        ("cifar10", 0, "nearest is 10"),
        ("cifar10", -40, "nearest is 10"),
        ("cifar10", 4001, "4000 or 4010"),
        ("cifar10", 50_010, "nearest is 50000"),
        ("cifar100", 10, "nearest is 100"),
        ("cifar100", 10_050, "10000 or 10100"),
        ("svhn", 73_250, "nearest is 46590"),
        ("digits", 1_300, "nearest is 1290"),
        ("digits", None, "from 10 to 1290"),
    ],
)
def test_fault_24_invalid_label_counts(dataset: str, labels: int | None, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        check_labels(dataset, labels, Path("/nowhere"))
    assert "\n" not in str(caught.value)


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    ("dataset", "labels"),
    [("cifar10", 4000), ("cifar100", 50_000), ("svhn", 500), ("digits", 1290)],
)
def test_fault_24_valid_label_counts(dataset: str, labels: int) -> None:
    check_labels(dataset, labels, Path("/nowhere"))


@pytest.mark.fault(24)
def test_fault_24_folder_is_counted_without_decoding(make_folder) -> None:
    root = make_folder(per_class=3)
    for path in root.rglob("*.png"):
        path.write_bytes(b"no image at all")
    check_labels("folder", 6, root)
    check_labels("folder", None, root)
    with pytest.raises(UsageError, match=r"rarest with 3 images.*nearest is 6"):
        check_labels("folder", 8, root)


@given(labels=st.integers(-300, 300), num_classes=st.integers(1, 12), fewest=st.integers(1, 20))
@settings(max_examples=500, deadline=None)
def test_exactly_the_multiples_pass_and_the_named_ones_are_nearest(
    labels: int, num_classes: int, fewest: int
) -> None:
    valid = [num_classes * k for k in range(1, fewest + 1)]
    if labels in valid:
        check_label_count("set", labels, num_classes, fewest)
        return
    with pytest.raises(UsageError) as caught:
        check_label_count("set", labels, num_classes, fewest)
    named = [int(n) for n in str(caught.value).rsplit("nearest is ", 1)[1].split(" or ")]
    assert set(named) <= set(valid)
    assert min(abs(labels - n) for n in named) == min(abs(labels - n) for n in valid)


def test_svhn_fewest_is_consistent() -> None:
    for facts in FACTS.values():
        assert facts.num_classes * facts.fewest_per_class <= facts.num_train_images
