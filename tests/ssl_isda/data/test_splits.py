from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_isda.assembly.workspace import Workspace, split_of
from ssl_isda.base.errors import OutputFailed, UsageError
from ssl_isda.data.amounts import Amounts
from ssl_isda.data.splits import Split, check_split, load_split, make_split
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.settings.resolve import resolve
from tests.ssl_isda.data.conftest import load

LABELS = torch.tensor([k % 4 if k % 5 else -1 for k in range(100)])  # 20 of each class


def tiny(labels: object = LABELS, **changes: object) -> Split:
    drawn = {"num_classes": 4, "amounts": Amounts(16), "seed": 0, **changes}
    return make_split(labels, dataset="tiny", checksum="c0ffee", **drawn)


@pytest.mark.fault(25)
def test_fault_25_golden_hash() -> None:
    """The labeled indices of a CIFAR-sized set, as any machine and version must draw them."""
    labels = np.arange(50_000) * 7919 % 10
    split = tiny(labels, num_classes=10, amounts=Amounts(4000), seed=3)
    text = ",".join(map(str, split.labeled))
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "a2d549b96e79b799705d8452cdc96dab735125dd196b9d62444fbb9ad508c4cd"
    )


@pytest.mark.fault(25)
def test_fault_25_rule_written_out() -> None:
    expected = []
    for label in range(4):
        members = [k for k in range(100) if LABELS[k] == label]
        members.sort(key=lambda k: hashlib.sha256(f"0/{k}".encode()).hexdigest())
        expected += members[:4]
    assert tiny().labeled == tuple(sorted(expected))


@given(
    labels=st.lists(st.integers(-1, 3), min_size=20, max_size=80),
    seed=st.integers(0, 5),
    fraction=st.sampled_from([0.0, 0.25, 0.5]),
)
@settings(max_examples=500, deadline=None)
def test_balanced_nested_disjoint(labels: list[int], seed: int, fraction: float) -> None:
    labels = labels + [0, 1, 2, 3] * 4
    array = np.array(labels)
    fewest = min(np.bincount(array[array >= 0]))
    previous: set[int] = set()
    for per_class in range(2, fewest + 1):
        split = tiny(array, amounts=Amounts(4 * per_class), seed=seed, validation_fraction=fraction)
        held_out = max(1, int(fraction * per_class)) if fraction else 0
        assert np.bincount(array[list(split.labeled)]).tolist() == [per_class - held_out] * 4
        assert len(split.validation) == 4 * held_out
        assert not set(split.labeled) & set(split.validation)
        assert previous <= set(split.labeled)
        previous = set(split.labeled)
        pool = split.unlabeled_pool(len(labels)).tolist()
        assert pool == [k for k in range(len(labels)) if k not in split.validation]


def test_seeds_differ_and_validation_leaves_the_rest_alone() -> None:
    assert tiny(seed=0).labeled != tiny(seed=1).labeled
    held = tiny(validation_fraction=0.25)
    assert set(held.labeled) | set(held.validation) == set(tiny().labeled)


def test_decimal_fraction_of_labels() -> None:
    labels = np.arange(400) % 4
    assert len(tiny(labels, amounts=Amounts(), validation_fraction=0.29).validation) == 4 * 29


def test_none_takes_every_labeled_image() -> None:
    labels = torch.tensor([0, 0, 0, -1, 1])
    split = tiny(labels, num_classes=2, amounts=Amounts())
    assert split.labeled == (0, 1, 2, 4)
    assert split.unlabeled_pool(5).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.fault(24)
@pytest.mark.parametrize("num_labels", [0, -4, 17, 84])
def test_fault_24_impossible_number(num_labels: int) -> None:
    with pytest.raises(UsageError, match="valid are the multiples of 4 from 4 to 80"):
        tiny(amounts=Amounts(num_labels))


def test_class_left_without_labels() -> None:
    with pytest.raises(UsageError, match="leaves none to train on"):
        tiny(amounts=Amounts(4), validation_fraction=0.25)
    with pytest.raises(UsageError, match="no labeled training image"):
        tiny(num_classes=5, amounts=Amounts())


def test_a_number_for_each_class_draws_the_same_images_as_their_number_in_all() -> None:
    assert tiny(amounts=Amounts(labels_per_class=4)) == tiny()
    assert tiny(amounts=Amounts(label_fraction=0.2)) == tiny()


def test_a_long_tailed_pool_is_drawn_for_both_parts(tmp_path) -> None:
    """Smaller pools are part of larger ones; nothing outside the pool is trained on."""
    larger = tiny(amounts=Amounts(imbalance=2.0, label_fraction=0.5))
    split = tiny(amounts=Amounts(imbalance=10.0, label_fraction=0.5), validation_fraction=0.25)
    assert np.bincount(LABELS[list(split.pool)]).tolist() == [20, 9, 4, 2]
    assert np.bincount(LABELS[list(split.labeled)]).tolist() == [8, 3, 1, 1]
    assert np.bincount(LABELS[list(split.validation)]).tolist() == [2, 1, 1]
    assert {*split.labeled, *split.validation} <= {*split.pool} <= {*larger.pool}
    assert split.unlabeled_pool(100).tolist() == sorted({*split.pool} - {*split.validation})
    assert (
        split.unlabeled_sample(100, most=5).tolist()
        == sorted({*split.pool} - {*split.labeled, *split.validation})[::4]
    )
    split.save(tmp_path / "split.json")
    assert json.loads((tmp_path / "split.json").read_text())["version"] == 2
    assert reload(tmp_path / "split.json") == split


def test_a_single_label_of_a_class_is_not_held_out() -> None:
    labels = np.array([0, 0, 0, 0, 1])
    split = tiny(labels, num_classes=2, amounts=Amounts(), validation_fraction=0.25)
    assert len(split.validation) == 1 and 4 in split.labeled


def test_a_split_without_the_newer_fields_keeps_its_bytes(tmp_path) -> None:
    tiny(validation_fraction=0.25).save(tmp_path / "split.json")
    digest = hashlib.sha256((tmp_path / "split.json").read_bytes()).hexdigest()
    assert digest == "de15d36754452bbd364e7a433bf55b7594ad3d42169b171b0b686ee5ad83d516"


# ---- files --------------------------------------------------------------------------------------


def reload(path: Path, **changes: object) -> Split:
    return load_split(
        path, **{"dataset": "tiny", "checksum": "c0ffee", "labels": LABELS, **changes}
    )


@pytest.mark.fault(25)
def test_fault_25_split_of_another_imports(tmp_path) -> None:
    path = tmp_path / "split.json"
    split = tiny(validation_fraction=0.25)
    split.save(path)
    assert reload(path) == split
    assert [p.name for p in tmp_path.iterdir()] == ["split.json"]


def resigned(path: Path, **changes: object) -> None:
    """Change fields of a split file and renew its digest, as a careful forger would."""
    content = json.loads(path.read_text())
    content.update(changes)
    content.pop("digest")
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["digest"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(content))


@pytest.mark.fault(25)
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": 2}, "its version is not 1"),
        ({"pool": [6, 7, 8, 9]}, "its version is not 2"),
        ({"version": 2, "pool": []}, "pool is empty"),
        ({"version": 2, "pool": None}, "integers"),
        ({"version": 2, "test": [1]}, r"other test images \(digest \w{16} in it, none of tiny now"),
        ({"extra": 1}, "nothing else"),
        ({"dataset": "other"}, "'other'"),
        ({"checksum": "bad"}, r"other images \(digest bad in it, c0ffee of tiny now\)"),
        ({"seed": "0"}, "seed"),
        ({"labeled": [-1, 6, 7, 8]}, "beyond"),
        ({"labeled": [6, 7, 8, 100]}, "beyond"),
        ({"labeled": [6, 6, 7, 8]}, "twice"),
        ({"labeled": [8, 7, 6, 9]}, "ascending"),
        ({"labeled": [6, 7, 8, 9.0]}, "integers"),
        ({"labeled": [True, 7, 8, 9]}, "integers"),
        ({"labeled": "6789"}, "integers"),
        ({"labeled": None}, "integers"),
        ({"labeled": [5, 6, 7, 8, 9]}, "no label"),
        ({"labeled": [6, 7, 8]}, "class 1 has no labeled"),
        ({"labeled": []}, "class 0 has no labeled"),
        ({"validation": [6], "labeled": [6, 7, 8, 9]}, "both"),
        ({"validation": [10**30]}, "beyond"),
    ],
)
def test_fault_25_invalid_content_is_refused(tmp_path, changes: dict, says: str) -> None:
    path = tmp_path / "split.json"
    tiny().save(path)
    resigned(path, **changes)
    with pytest.raises(UsageError, match=says) as caught:
        reload(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.fault(25)
def test_fault_25_tampered_split_is_refused(tmp_path) -> None:
    path = tmp_path / "split.json"
    split = tiny()
    split.save(path)
    first = split.labeled[0]
    other = next(k for k in range(100) if LABELS[k] == LABELS[first] and k not in split.labeled)
    text = path.read_text().replace(f"[{first},", f"[{other},")
    path.write_text(text)
    with pytest.raises(UsageError, match="changed after it was written"):
        reload(path)


@pytest.mark.fault(25)
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[1, 2", b"[]", b"null", b"[" * 9000, b"1" * 9000, b"x" * 20_000]
)
def test_fault_25_no_split_file(tmp_path, content: bytes) -> None:
    path = tmp_path / "split.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="split"):
        reload(path)


def test_missing_split_file_and_unwritable_place(tmp_path) -> None:
    with pytest.raises(UsageError, match="cannot read the split"):
        reload(tmp_path / "absent.json")
    with pytest.raises(UsageError, match="cannot read the split"):
        reload(tmp_path)
    with pytest.raises(OutputFailed):
        tiny().save(tmp_path / "absent" / "split.json")


def test_a_sample_of_the_unlabeled_is_spread_and_holds_no_label_in_use() -> None:
    split = Split("d", "c", 0, labeled=(0, 3, 6), validation=(9,))
    assert split.unlabeled_sample(12, most=100).tolist() == [1, 2, 4, 5, 7, 8, 10, 11]
    assert split.unlabeled_sample(12, most=4).tolist() == [1, 4, 7, 10]
    assert split.unlabeled_sample(12, most=3).tolist() == [1, 5, 10]
    assert Split("d", "c", 0, labeled=(0, 1)).unlabeled_sample(2, most=5).tolist() == []


@pytest.mark.parametrize(
    ("num_labels", "validation", "words"),
    [
        (16, True, None),
        (20, True, "has 16 labels; --labels are 20: give --labels 16"),
        (None, True, "has 16 labels; all are 80: give --labels 16"),
        (16, False, "holds out images: give --validation"),
    ],
)
def test_a_split_is_held_against_the_settings(
    num_labels: int | None, validation: bool, words: str | None
) -> None:
    split = tiny(validation_fraction=0.25)
    if words is None:
        check_split(Path("s.json"), split, LABELS, 4, Amounts(num_labels), validation)
        return
    with pytest.raises(UsageError, match=f"^the split s.json {words}$"):
        check_split(Path("s.json"), split, LABELS, 4, Amounts(num_labels), validation)


@pytest.mark.parametrize(
    ("drawn", "asked", "words"),
    [
        (
            {"label_fraction": 0.2},
            {"labels_per_class": 3},
            "--labels-per-class 3 gives 12: give --labels 16",
        ),
        (
            {"imbalance": 2.0},
            {"label_fraction": 0.5},
            "--label-fraction 0.5 gives 40: give the number",
        ),
        (
            {"imbalance": 2.0, "labels": 16},
            {"labels": 16},
            "has a long-tailed pool: give the --imbalance",
        ),
        (
            {"labels": 16},
            {"imbalance": 2.0, "labels": 16},
            "has no long-tailed pool: leave",
        ),
        (
            {"imbalance": 2.0, "labels": 16},
            {"imbalance": 3.0, "labels": 16},
            "pool of 57 images; --imbalance 3 gives 48",
        ),
        (
            {"imbalance": 2.0, "imbalance_unlabeled": 4.0, "labels": 16},
            {"imbalance": 4.0, "labels": 16},
            "has 6 labels of class 0, and these settings give 7: give the numbers and the --imbalance",
        ),
    ],
)
def test_a_split_of_other_amounts(drawn: dict, asked: dict, words: str) -> None:
    split = tiny(amounts=Amounts(**drawn))
    check_split(Path("s.json"), split, LABELS, 4, Amounts(**drawn), False)
    with pytest.raises(UsageError, match=f"^the split s.json .*{words}"):
        check_split(Path("s.json"), split, LABELS, 4, Amounts(**asked), False)


@pytest.mark.parametrize(
    ("amounts", "words"),
    [
        (Amounts(labels_per_class=4), "has 5 labels of class 1, and these settings give 4"),
        (Amounts(labels=16), None),
    ],
)
def test_a_split_of_other_classes(amounts: Amounts, words: str | None) -> None:
    """As many labels in all; a published fold need not have the same number of each class."""
    members = [[k for k in range(100) if LABELS[k] == label] for label in range(4)]
    labeled = [*members[0][:4], *members[1][:5], *members[2][:4], *members[3][:3]]
    split = replace(tiny(), labeled=tuple(sorted(labeled)))
    if words is None:
        check_split(Path("s.json"), split, LABELS, 4, amounts, False)
        return
    with pytest.raises(UsageError, match=f"^the split s.json {words}"):
        check_split(Path("s.json"), split, LABELS, 4, amounts, False)


def test_a_split_of_another_pool() -> None:
    """As large in all, and of other classes."""
    amounts = Amounts(imbalance=2.0, labels=16)
    split = tiny(amounts=amounts)
    assert split.pool is not None
    first = next(k for k in range(100) if LABELS[k] == 3 and k not in split.pool)
    pool = sorted({*split.pool, first} - {next(k for k in split.pool if LABELS[k] == 0)})
    with pytest.raises(UsageError, match="19 pool images of class 0, and these settings give 20"):
        check_split(Path("s.json"), replace(split, pool=tuple(pool)), LABELS, 4, amounts, False)


def test_other_test_images_are_refused(tmp_path) -> None:
    tiny(test=(1, 5)).save(tmp_path / "split.json")
    assert reload(tmp_path / "split.json", test=(1, 5)).test == (1, 5)
    for now in ((1, 6), None):
        with pytest.raises(
            UsageError, match=r"other test images \(digest \w+ in it, \w+ of tiny now"
        ):
            reload(tmp_path / "split.json", test=now)


def test_a_split_without_held_out_images_is_none_for_validation() -> None:
    with pytest.raises(UsageError, match="holds out no images: leave --validation out"):
        check_split(Path("s.json"), tiny(), LABELS, 4, Amounts(16), True)


def test_a_data_set_says_itself_which_images_are_labeled(tmp_path: Path) -> None:
    """Such as a fold: for any seed, with its own number of labels, and never beside another split."""

    def split_with(*words: str) -> Split:
        common = "--dataset digits --method vat --threads 1".split()
        resolved = resolve([*common, f"--runs-dir={tmp_path}/{len(words)}", *words])
        folder = RunFolder(resolved)
        folder.path.mkdir(parents=True, exist_ok=True)
        return split_of(
            folder, Workspace(resolved, replace(load("digits", tmp_path), labeled=fold))
        )

    labels = load("digits", tmp_path).train.labels
    fold = tuple(sorted(int((labels == c).nonzero()[k]) for c in range(10) for k in (1, 5)))
    for _ in "drawn", "read again":
        split = split_with("--seed=3")
        assert (split.labeled, split.seed, split.pool) == (fold, 3, None)
    for words, says in (
        (
            ["--labels=30", "--seed=4"],
            "the split of --fold has 20 labels; --labels are 30: give --labels 20",
        ),
        (["--validation", "--seed=5"], "leave --validation out"),
        (["--split=x", "--seed=6"], "--split and --fold both say which images are labeled"),
    ):
        with pytest.raises(UsageError, match=says):
            split_with(*words)
