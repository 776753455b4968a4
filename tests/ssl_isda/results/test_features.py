"""features.npz: what stands in it, and that reading one runs no code and believes nothing."""

from __future__ import annotations

import os
import pickle
import struct
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_isda.base.errors import OutputFailed, UsageError
from ssl_isda.results.features import PART_NAMES, Features, load_features, npz_bytes, parts

LABELS = [0, -1, 2, 1, 2, 0]
PART = parts(4, labeled=[0, 3], validation=[2], num_test=2)


def example() -> Features:
    """Four training and two test images, in two batches."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, generator=generator)
    features = torch.randn(6, 5, generator=generator)
    whole = (logits, features, torch.tensor(LABELS))
    batches = [tuple(tensor[rows] for tensor in whole) for rows in (slice(4), slice(4, 6))]
    return Features.gathered(batches, PART, ["cat", "Grüße", "$x_1$"], "ab" * 32)


def arrays() -> dict[str, Any]:
    return {**vars(example()), "part_names": np.array(PART_NAMES)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "features.npz"
    example().save(path)
    return path


def refusal(path: Path) -> str:
    """The one line that refuses a file."""
    with pytest.raises(UsageError) as caught:
        load_features(path)
    line = str(caught.value)
    assert str(path) in line and "\n" not in line and len(line) < 400 + len(str(path))
    return line


# ---- what stands in it


def test_parts_and_places() -> None:
    found = example()
    assert [PART_NAMES[k] for k in found.part] == [
        *("labeled", "unlabeled", "validation", "labeled", "test", "test")
    ]
    assert found.index.tolist() == [0, 1, 2, 3, 0, 1]
    assert found.labels.tolist() == LABELS
    assert replace(found, predictions=np.array([1, 1, 1, 0, 2, 2])).error() == 50.0


def test_test_images_alone_are_counted_from_zero() -> None:
    part = parts(0, [], [], 2)
    batch = (torch.eye(2), torch.ones(2, 4), torch.tensor([0, 0]))
    found = Features.gathered([batch], part, ["a", "b"], "")
    assert found.index.tolist() == [0, 1] and found.predictions.tolist() == [0, 1]
    assert found.error() == 50.0


@pytest.mark.fault(15)
def test_fault_15_any_numpy_reads_all_of_it_without_pickle(file: Path) -> None:
    with np.load(file, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    assert found.keys() == arrays().keys()
    for name, array in arrays().items():
        assert np.array_equal(found[name], array), name
    kinds = {name: array.dtype.str for name, array in found.items()}
    assert kinds["features"] == kinds["logits"] == "<f4"
    assert {kinds[name] for name in ("labels", "predictions", "index", "part")} == {"<i8"}
    assert found["checkpoint_sha256"].shape == () and str(found["checkpoint_sha256"]) == "ab" * 32
    again = load_features(file)
    for name, expected in vars(example()).items():
        assert np.array_equal(getattr(again, name), expected), name


def test_the_same_bytes_at_another_time_and_no_objects(monkeypatch) -> None:
    before = npz_bytes(a=np.arange(3))
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2_000_000_000))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "2000000000")
    assert npz_bytes(a=np.arange(3)) == before
    with pytest.raises(ValueError, match="allow_pickle"):
        npz_bytes(a=np.array([{}], dtype=object))


def test_a_full_disk_keeps_what_stood_there(file: Path) -> None:
    before = file.read_bytes()
    (file.parent / "features.npz.partial").symlink_to("/dev/full")
    with pytest.raises(OutputFailed, match="disk full"):
        example().save(file)
    assert file.read_bytes() == before


def test_the_same_test_images() -> None:
    mine = example()
    other = replace(mine, labels=np.array([1, 1, 1, 1, 2, 0]))  # training labels do not matter
    assert mine.has_the_test_images_of(other)
    assert not mine.has_the_test_images_of(replace(mine, labels=mine.labels[::-1]))
    renamed = replace(mine, class_names=np.array(["dog", "Grüße", "$x_1$"]))
    assert not mine.has_the_test_images_of(renamed)


# ---- what is refused


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def pickled_member(path: Path, trap: Malicious) -> None:
    np.savez(path, **{**arrays(), "class_names": np.array([trap, trap, trap], dtype=object)})


def pickle_inside_the_archive(path: Path, trap: Malicious) -> None:
    path.write_bytes(npz_bytes(**arrays()))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("data.pkl", pickle.dumps(trap))


WAYS = {
    "plain pickle": lambda path, trap: path.write_bytes(pickle.dumps(trap)),
    "member": pickled_member,
    "extra member": lambda path, trap: np.savez(path, **arrays(), extra=np.array(trap, object)),
    "inside the archive": pickle_inside_the_archive,
    "torch file": lambda path, trap: torch.save(trap, path),
}


@pytest.mark.fault(15)
@pytest.mark.parametrize("way", WAYS)
def test_fault_15_code_in_features_is_not_executed(tmp_path: Path, way: str) -> None:
    trace, path = tmp_path / "executed", tmp_path / "features.npz"
    WAYS[way](path, Malicious(trace))
    refusal(path)
    assert not trace.exists()


@pytest.mark.fault(15)
def test_fault_15_the_trap_itself_works(tmp_path: Path) -> None:
    path = tmp_path / "features.npz"
    pickled_member(path, Malicious(tmp_path / "executed"))
    with np.load(path, allow_pickle=True) as archive:
        assert archive["class_names"].tolist() == [None] * 3 or (tmp_path / "executed").exists()
    assert (tmp_path / "executed").exists()


def test_any_cut_is_seen(file: Path) -> None:
    content = file.read_bytes()
    for length in range(0, len(content), 97):
        file.write_bytes(content[:length])
        refusal(file)


def data_of_members(file: Path) -> list[range]:
    """Where in the file the members' data stand, each under its CRC-32."""
    content, found = file.read_bytes(), []
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            lengths = content[member.header_offset + 26 : member.header_offset + 30]
            begin = member.header_offset + 30 + sum(struct.unpack("<HH", lengths))
            found.append(range(begin, begin + member.compress_size))
    return found


def test_any_flipped_byte_is_seen_or_changes_nothing(file: Path) -> None:
    """Each byte of the archive's own structure, and some of what its checksums guard."""
    content, expected = file.read_bytes(), example()
    guarded = [position for data in data_of_members(file) for position in data]
    positions = {*range(len(content))} - {*guarded} | {*guarded[::64]}
    assert len(guarded) > len(content) / 3
    for position in sorted(positions):
        changed = bytearray(content)
        changed[position] ^= 0xFF
        file.write_bytes(changed)
        try:
            found = load_features(file)
        except UsageError:
            continue
        for name, value in vars(expected).items():
            assert np.array_equal(getattr(found, name), value), (position, name)


LIES = {
    "features": np.zeros((6, 5)),
    "logits": np.zeros((5, 3), np.float32),
    "labels": np.array([0, -1, 3, 1, 2, 0]),
    "predictions": np.full(6, -1),
    "index": np.full(6, 6),
    "part": np.full(6, 4),
    "class_names": np.array(["cat", "dog"]),
    "checkpoint_sha256": np.array(3),
    "part_names": np.array(["labeled", "test"]),
}


def test_what_is_no_features_file_is_refused(file: Path) -> None:
    for name, array in LIES.items():
        file.write_bytes(npz_bytes(**{**arrays(), name: array}))
        refusal(file)
    file.write_bytes(npz_bytes(features=np.zeros(3)))
    assert "must hold checkpoint_sha256, class_names, data_digest, features" in refusal(file)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000, 9), }"
    header = header.ljust(117) + b"\n"  # larger than any memory
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("features.npy", member)
    refusal(file)
    np.save(file.with_suffix(".npy"), np.zeros(3))
    refusal(file.with_suffix(".npy"))
    refusal(file.parent)
    file.write_bytes(b"")
    refusal(file)
    file.unlink()
    assert "run.py export writes it" in refusal(file)
