"""Arrays on disk: computed once, by one process, and never read half."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from ssl_isda.data.array_cache import Arrays, cached_arrays


class Work:
    """Takes a while, and counts how often it is asked for."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.times = seconds, 0

    def __call__(self) -> Arrays:
        self.times += 1
        time.sleep(self.seconds)
        return {"a": np.arange(1000.0)}


def test_computed_once_and_read_again(tmp_path: Path) -> None:
    work = Work()
    for _ in range(2):
        arrays = cached_arrays(tmp_path / "deep" / "c.npz", "key", work)
        assert (arrays["a"] == np.arange(1000.0)).all() and arrays.keys() == {"a"}
    assert work.times == 1


def test_another_key_is_computed_anew(tmp_path: Path) -> None:
    work = Work()
    for key in ("one", "two", "two"):
        cached_arrays(tmp_path / "c.npz", key, work)
    assert work.times == 2


@pytest.mark.fault(23)
def test_fault_23_one_computes_the_others_wait(tmp_path: Path) -> None:
    """Two lock holders of one process exclude each other just as two processes do (flock)."""
    work = Work(0.3)
    threads = [
        threading.Thread(target=cached_arrays, args=(tmp_path / "c.npz", "key", work))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert work.times == 1


HOLDER = """
import filelock, sys, time
lock = filelock.FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.fault(23)
def test_fault_23_a_lock_is_free_again_after_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "c.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        taken = FileLock(tmp_path / "c.lock")
        try:
            with pytest.raises(TimeoutError):
                taken.acquire(timeout=0)
        finally:
            holder.kill()
    cached_arrays(tmp_path / "c.npz", "key", work := Work())
    assert work.times == 1


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_cut_file_is_computed_anew(tmp_path: Path, share: float) -> None:
    file, work = tmp_path / "c.npz", Work()
    cached_arrays(file, "key", work)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    assert (cached_arrays(file, "key", work)["a"] == np.arange(1000.0)).all()
    assert work.times == 2 and file.read_bytes() == content


@pytest.mark.fault(15)
def test_fault_15_pickled_objects_are_not_read(tmp_path: Path) -> None:
    file, work = tmp_path / "c.npz", Work()
    np.savez(file, key=np.array("key"), a=np.array([{"an": "object"}], dtype=object))
    assert (cached_arrays(file, "key", work)["a"] == np.arange(1000.0)).all() and work.times == 1


def test_what_cannot_be_kept_is_computed(tmp_path: Path, capfd) -> None:
    (tmp_path / "file").touch()
    assert cached_arrays(tmp_path / "file" / "c.npz", "key", Work())["a"].size == 1000
    (tmp_path / "c.partial").symlink_to("/dev/full")
    assert cached_arrays(tmp_path / "c.npz", "key", Work())["a"].size == 1000
    assert not (tmp_path / "c.npz").exists() and not (tmp_path / "c.partial").exists()
    assert capfd.readouterr().err.count("\n") <= 1


def test_a_changed_byte_is_never_believed(tmp_path: Path) -> None:
    """CRCs guard the arrays; of the archive's own words some make NumPy raise in rare ways."""
    file = tmp_path / "c.npz"
    arrays = {"a": np.arange(3.0), "b": np.arange(2)}
    cached_arrays(file, "key", lambda: arrays)
    content = file.read_bytes()
    for position in range(len(content)):
        for mask in (1 << position % 8, 0xFF):
            changed = bytearray(content)
            changed[position] ^= mask
            file.write_bytes(changed)
            found = cached_arrays(file, "key", lambda: arrays)
            assert found.keys() == arrays.keys(), (position, mask)
            assert all((found[name] == arrays[name]).all() for name in arrays), (position, mask)
