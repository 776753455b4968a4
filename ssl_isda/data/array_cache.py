"""Arrays that take long to compute, kept on disk: whole and of the right key, or computed again.

A folder holds a ``.npy`` file for each array, which is mapped into memory and not read, and
``contents.json``: the key, and the CRC-32 of each file.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from ssl_isda.base.files import UNREADABLE_ARCHIVE, sync_folder

Arrays = dict[str, np.ndarray]
CHUNK_BYTES = 1 << 24


def cached_arrays(folder: Path, key: str, compute: Callable[[], Arrays]) -> Arrays:
    """The arrays kept in ``folder`` under ``key``, else computed and kept.

    What is missing, stale or damaged is replaced. Of several processes one computes and the others
    wait. Where nothing can be written, or the disk is full, nothing is kept: that costs the next run
    time, not this one. What is written into a kept array stays in this process.
    """
    return renewed_arrays(folder, key, lambda earlier: compute(), lambda arrays: True)


def renewed_arrays(
    folder: Path,
    key: str,
    compute: Callable[[Arrays], Arrays],
    is_current: Callable[[Arrays], bool],
) -> Arrays:
    """As ``cached_arrays``, from what is kept there under another key, or not current any more.

    Parameters
    ----------
    compute : is given the arrays that are kept; none where nothing is, or what is there is damaged
    is_current : whether arrays that are kept under ``key`` may be used
    """
    from filelock import FileLock

    def usable(kept: tuple[str, Arrays]) -> bool:
        return kept[0] == key and is_current(kept[1])

    if usable(kept := _read(folder)):
        return kept[1]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(folder.name + ".lock"))
        lock.acquire()
    except OSError:
        return compute(kept[1])
    try:
        if usable(kept := _read(folder)):
            return kept[1]
        arrays = compute(kept[1])
        _write(folder, key, arrays)
        return arrays
    finally:
        lock.release()


def _read(folder: Path) -> tuple[str, Arrays]:
    """The key, and the arrays; "" and none unless everything is there and undamaged."""
    try:
        kept = json.loads((folder / "contents.json").read_text())
        found = {name: _checksum(folder / f"{name}.npy") for name in kept["files"]}
        if kept != {"key": str(kept["key"]), "files": found}:
            return "", {}
        # "c": a tensor over the map may be written to, and the file stays as it is.
        load = functools.partial(np.load, mmap_mode="c", allow_pickle=False)
        return kept["key"], {name: load(folder / f"{name}.npy") for name in found}
    except UNREADABLE_ARCHIVE:
        return "", {}


def _checksum(file: Path) -> int:
    found = 0
    with open(file, "rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            found = zlib.crc32(chunk, found)
    return found


class _Summed:
    """A file to write to, with the CRC-32 of what it was given. NumPy alone overlooks a full disk."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.checksum = file, 0

    def write(self, content: bytes) -> int:
        self.checksum = zlib.crc32(content, self.checksum)
        return self.file.write(content)


def _write(folder: Path, key: str, arrays: Arrays) -> None:
    """Through a folder whose name is fixed, so that one left by a kill is overwritten."""
    temporary = folder.with_name(folder.name + ".new")
    checksums: dict[str, int] = {}
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        for name, array in arrays.items():
            with _synced(temporary / f"{name}.npy") as file:
                np.save(summed := _Summed(file), array, allow_pickle=False)
                checksums[name] = summed.checksum
        with _synced(temporary / "contents.json") as file:
            file.write(json.dumps({"key": key, "files": checksums}).encode())
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        print(f"not kept for the next run: {folder}: {error.strerror or error}", file=sys.stderr)
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _synced(path: Path) -> Iterator[IO[bytes]]:
    with open(path, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
