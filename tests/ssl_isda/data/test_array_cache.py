"""Arrays on disk: computed once, by one process, and never read half."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
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
        arrays = cached_arrays(tmp_path / "deep" / "c", "key", work)
        assert (arrays["a"] == np.arange(1000.0)).all() and arrays.keys() == {"a"}
    assert work.times == 1


def test_another_key_is_computed_anew(tmp_path: Path) -> None:
    work = Work()
    for key in ("one", "two", "two"):
        cached_arrays(tmp_path / "c", key, work)
    assert work.times == 2


@pytest.mark.fault(23)
def test_fault_23_one_computes_the_others_wait(tmp_path: Path) -> None:
    """Two lock holders of one process exclude each other just as two processes do (flock)."""
    work = Work(0.3)
    threads = [
        threading.Thread(target=cached_arrays, args=(tmp_path / "c", "key", work)) for _ in range(3)
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
    cached_arrays(tmp_path / "c", "key", work := Work())
    assert work.times == 1


@pytest.mark.parametrize("name", ["a.npy", "contents.json"])
@pytest.mark.parametrize("share", [None, 0.0, 0.1, 0.5, 0.99])
def test_a_cut_file_is_computed_anew(tmp_path: Path, name: str, share: float | None) -> None:
    folder, work = tmp_path / "c", Work()
    cached_arrays(folder, "key", work)
    content = (folder / name).read_bytes()
    if share is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content[: int(share * len(content))])
    assert (cached_arrays(folder, "key", work)["a"] == np.arange(1000.0)).all()
    assert work.times == 2 and (folder / name).read_bytes() == content


@pytest.mark.fault(15)
def test_fault_15_pickled_objects_are_not_read(tmp_path: Path) -> None:
    """Not even where somebody has made the checksum right."""
    folder, work = tmp_path / "c", Work()
    cached_arrays(folder, "key", work)
    np.save(folder / "a.npy", np.array([{"an": "object"}], dtype=object))
    contents = {"key": "key", "files": {"a": zlib.crc32((folder / "a.npy").read_bytes())}}
    (folder / "contents.json").write_text(json.dumps(contents))
    assert (cached_arrays(folder, "key", work)["a"] == np.arange(1000.0)).all() and work.times == 2


def test_what_cannot_be_kept_is_computed(tmp_path: Path, capfd) -> None:
    """In a file's place, and on a disk that is full after five kilobytes."""
    (tmp_path / "file").touch()
    assert cached_arrays(tmp_path / "file" / "c", "key", Work())["a"].size == 1000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))
    try:
        assert cached_arrays(tmp_path / "c", "key", Work())["a"].size == 1000
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {path.name for path in tmp_path.iterdir()} <= {"file", "c.lock"}
    assert capfd.readouterr().err.startswith("not kept for the next run: ")


def test_a_changed_byte_is_never_believed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    arrays = {"a": np.arange(3.0), "b": np.arange(2), "none": np.empty((0, 3))}
    cached_arrays(tmp_path / "c", "key", lambda: arrays)
    for file in sorted((tmp_path / "c").iterdir()):
        content = file.read_bytes()
        for position in range(0, len(content), 3):
            changed = bytearray(content)
            changed[position] ^= 1 << position % 8
            file.write_bytes(changed)
            found = cached_arrays(tmp_path / "c", "key", lambda: arrays)
            assert found.keys() == arrays.keys(), (file, position)
            assert all((found[name] == arrays[name]).all() for name in arrays), (file, position)


def test_a_kept_array_is_a_map_that_changes_nothing_on_disk(tmp_path: Path) -> None:
    """So that a start reads and copies nothing, whoever writes into his images afterwards."""
    cached_arrays(tmp_path / "c", "key", work := Work())
    for _ in range(2):
        tensor = torch.from_numpy(cached_arrays(tmp_path / "c", "key", work)["a"])
        assert tensor[0] == 0
        tensor.fill_(7)
    assert work.times == 1
    assert isinstance(cached_arrays(tmp_path / "c", "key", work)["a"], np.memmap)
