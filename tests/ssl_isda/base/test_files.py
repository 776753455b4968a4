"""Files are whole or not there."""

import errno
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssl_isda.base.errors import OutputFailed
from ssl_isda.base.files import output_failed, write_atomically


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow beyond 10,000 bytes: what a full disk looks like to one process."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_content_replaces_content_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_atomically(file, b"old")
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


@pytest.mark.fault(8)
def test_fault_8_a_full_disk_leaves_what_stood_there(tmp_path: Path, small_disk: None) -> None:
    file = tmp_path / "a"
    write_atomically(file, b"old")
    with pytest.raises(OutputFailed) as caught:
        write_atomically(file, bytes(2_340_000))
    assert str(caught.value) == f"disk full: {file} needs 2.3 MB"
    assert caught.value.exit_code == 74
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


@pytest.mark.fault(8)
def test_fault_8_a_device_without_space(tmp_path: Path) -> None:
    (tmp_path / "a.partial").symlink_to("/dev/full")
    with pytest.raises(OutputFailed, match=r"disk full: .*/a needs 0\.1 MB"):
        write_atomically(tmp_path / "a", b"new")
    assert names(tmp_path) == []


def test_a_crash_before_the_rename_leaves_what_stood_there(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "a"
    write_atomically(file, b"old")

    def crash(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OutputFailed, match=r"cannot write .*/a: Input/output error"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_content_is_on_the_disk_before_its_name_is(tmp_path: Path, monkeypatch) -> None:
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, f=real: (calls.append(n), f(*a))[1])
    write_atomically(tmp_path / "a", b"new")
    assert calls == ["fsync", "replace", "fsync"]  # the file, its name, the folder


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(OutputFailed, match=r"cannot write .*/gone/a: No such file or directory"):
        write_atomically(tmp_path / "gone" / "a", b"new")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_all_kinds_of_fullness_are_named_alike(number: int) -> None:
    error = output_failed(OSError(number, os.strerror(number)), Path("x"), 12_345_678)
    assert str(error) == "disk full: x needs 12.3 MB"
