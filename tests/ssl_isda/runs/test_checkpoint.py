"""Checkpoints: exact, and any damage is seen."""

import hashlib
import io
import os
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_isda.base.errors import OutputFailed
from ssl_isda.runs import checkpoint
from ssl_isda.runs.checkpoint import CheckpointDamaged, load, load_latest, previous, save

OLD = {"next_step": 3, "student": {"w": torch.arange(6.0).view(2, 3)}, "note": ["a", 1.5, None]}
NEW = {"next_step": 4, "student": {"w": torch.ones(2, 3, dtype=torch.bfloat16)}, "note": []}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and a == b


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A checkpoint with the previous one beside it."""
    file = tmp_path / "checkpoint.pt"
    save(file, OLD)
    save(file, NEW)
    return file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def with_header(payload: bytes, version: int = checkpoint.VERSION) -> bytes:
    digest = hashlib.sha256(payload).hexdigest().encode()
    return b"%s %d %s\n" % (checkpoint.MAGIC, version, digest) + payload


def torch_bytes(state: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def assert_falls_back(file: Path, *words: str) -> None:
    state, complaints = load_latest(file)
    assert same(state, OLD)
    (complaint,) = complaints
    assert str(file) in complaint and "\n" not in complaint
    assert all(word in complaint for word in words), complaint


def test_round_trip_and_the_one_before(file: Path) -> None:
    assert same(load(file), NEW)
    assert same(load(previous(file)), OLD)
    assert load_latest(file)[1] == []
    assert names(file.parent) == ["checkpoint.pt", "checkpoint.pt.previous"]


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert load_latest(tmp_path / "checkpoint.pt") == (None, [])


def test_a_path_may_be_text_and_a_wrong_one_is_said(file: Path) -> None:
    assert same(load_latest(str(file))[0], NEW)
    (file.parent / "other.pt").write_bytes(torch_bytes(NEW))
    for path, reason in (
        (file.parent / "runs/seed0/checkpoint.pt", "there is no folder .*runs/seed0"),
        (file.parent, "is the folder of a run: its .*checkpoint.pt is meant"),
        (file.parent / "other.pt", "other.pt is not a checkpoint of this program"),
    ):
        with pytest.raises(CheckpointDamaged, match=reason):
            load_latest(str(path))


@pytest.mark.fault(5)
@pytest.mark.parametrize("share", [0, 0.001, 0.02, 0.05, 0.1, 0.3, 0.6, 0.9, 0.9999])
def test_fault_5_a_cut_checkpoint_falls_back(file: Path, share: float) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    assert_falls_back(file)


@pytest.mark.fault(5)
@pytest.mark.parametrize(
    "content",
    [
        b"hello\n",
        b"\n",
        b"ssl-isda checkpoint 1\n",
        b"ssl-isda checkpoint one abc\n",
        b"ssl-isda checkpoint %s %s\n" % (b"9" * 5000, b"0" * 64),
        torch_bytes(NEW),
        bytes(1000),
    ],
)
def test_fault_5_what_is_no_checkpoint_falls_back(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert_falls_back(file, "is not a checkpoint of this program")


@pytest.mark.fault(6)
@pytest.mark.parametrize("place", range(24))
def test_fault_6_one_flipped_bit_is_refused(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    offset = place * (len(content) - 1) // 23
    content[offset] ^= 1 << (place % 8)
    file.write_bytes(content)
    assert_falls_back(file)


@pytest.mark.fault(6)
def test_fault_6_no_bit_of_the_header_may_flip(file: Path) -> None:
    content = file.read_bytes()
    for offset in range(content.index(b"\n") + 1):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[offset] ^= 1 << bit
            file.write_bytes(flipped)
            with pytest.raises(CheckpointDamaged):
                load(file)


@pytest.mark.fault(7)
def test_fault_7_two_bad_ones_are_an_error_and_stay(file: Path) -> None:
    for path in (file, previous(file)):
        path.write_bytes(path.read_bytes()[:-1])
    before = [file.read_bytes(), previous(file).read_bytes()]
    with pytest.raises(CheckpointDamaged) as caught:
        load_latest(file)
    assert str(file) in str(caught.value) and str(previous(file)) in str(caught.value)
    assert [file.read_bytes(), previous(file).read_bytes()] == before


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").mkdir()
    with pytest.raises(CheckpointDamaged, match=r"cannot read .*checkpoint\.pt: Is a directory"):
        load_latest(tmp_path / "checkpoint.pt")


@pytest.mark.fault(16)
def test_fault_16_a_newer_version_is_refused(file: Path) -> None:
    file.write_bytes(with_header(torch_bytes(NEW), version=3))
    assert_falls_back(file, "has format 3; this version reads up to 2: update it")


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.fault(15)
@pytest.mark.parametrize("write", [torch_bytes, partial(pickle.dumps, protocol=2)])
@pytest.mark.parametrize("header", [True, False])
def test_fault_15_code_in_a_checkpoint_is_not_executed(file: Path, write, header: bool) -> None:
    trace = file.parent / "executed"
    payload = write({"student": Malicious(trace)})
    file.write_bytes(with_header(payload) if header else payload)
    assert_falls_back(file)
    assert not trace.exists()


@pytest.mark.fault(15)
def test_fault_15_the_trap_itself_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Malicious(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


@pytest.mark.fault(8)
def test_fault_8_a_full_disk_keeps_the_old_one(file: Path) -> None:
    (file.parent / "checkpoint.pt.new.partial").symlink_to("/dev/full")
    with pytest.raises(OutputFailed, match=r"disk full: .*checkpoint\.pt.* needs 0\.1 MB"):
        save(file, OLD)
    assert same(load(file), NEW) and same(load(previous(file)), OLD)
    assert names(file.parent) == ["checkpoint.pt", "checkpoint.pt.previous"]


@pytest.mark.fault(4)
@pytest.mark.parametrize("crash_at", [0, 1, 2])
def test_fault_4_a_crash_at_any_rename_loses_nothing(
    file: Path, crash_at: int, monkeypatch
) -> None:
    """The state before or the one being saved: which, says ``crash_at``."""
    renames = iter(range(9))
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if next(renames) == crash_at:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    newest = {"next_step": 5}
    with pytest.raises(KeyboardInterrupt):
        save(file, newest)
    monkeypatch.setattr(os, "replace", real)
    state, complaints = load_latest(file)
    assert same(state, NEW if crash_at == 0 else newest) and not complaints
    save(file, {"next_step": 6})
    assert same(load_latest(file)[0], {"next_step": 6})


@pytest.mark.fault(11)
def test_fault_11_stray_temporary_files_are_removed(file: Path) -> None:
    (file.parent / "checkpoint.pt.new.partial").write_bytes(b"half")
    (file.parent / "result.json.partial").write_bytes(b"half")
    assert same(load_latest(file)[0], NEW)
    checkpoint.remove_stray_files(file.parent)
    assert names(file.parent) == ["checkpoint.pt", "checkpoint.pt.previous"]
