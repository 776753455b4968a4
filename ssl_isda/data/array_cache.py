"""Arrays that take long to compute, kept on disk: whole and of the right key, or computed again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ssl_isda.base.files import UNREADABLE_ARCHIVE

Arrays = dict[str, np.ndarray]


def cached_arrays(path: Path, key: str, compute: Callable[[], Arrays]) -> Arrays:
    """The arrays kept in ``path`` under ``key``, else computed and kept.

    A missing, stale or damaged file is replaced. Of several processes one computes and the others
    wait. Where the folder cannot be written, or the disk is full, nothing is kept: that costs the
    next run time, not this one.
    """
    from filelock import FileLock

    if (arrays := _read(path, key)) is not None:
        return arrays
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"))
        lock.acquire()
    except OSError:
        return compute()
    try:
        arrays = _read(path, key)
        if arrays is None:
            arrays = compute()
            _write(path, key, arrays)
        return arrays
    finally:
        lock.release()


def _read(path: Path, key: str) -> Arrays | None:
    """None unless it is there, undamaged (the archive carries CRCs) and of this key."""
    try:
        with open(path, "rb") as file:
            kept = np.load(file, allow_pickle=False)
            if not isinstance(kept, np.lib.npyio.NpzFile):
                return None
            names = [name for name in kept.files if name != "key"]
            if str(kept["key"]) != _full_key(key, names):
                return None
            return {name: kept[name] for name in names}
    except UNREADABLE_ARCHIVE:
        return None


def _full_key(key: str, names: Iterable[str]) -> str:
    """With the names of the arrays: no CRC guards the archive's own list of them."""
    return "/".join([key, *sorted(names)])


def _write(path: Path, key: str, arrays: Arrays) -> None:
    """Through a temporary file, whose name is fixed, so that one left by a kill is overwritten."""
    temporary = path.with_suffix(".partial")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, key=np.array(_full_key(key, arrays)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        print(f"not kept for the next run: {path}: {error.strerror or error}", file=sys.stderr)
        temporary.unlink(missing_ok=True)
