"""A folder that one process at a time may write into."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssl_isda.base.errors import FolderInUse, UsageError
from ssl_isda.base.words import printed

LOCK = ".lock"


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Own the folder, which is made if it is not there.

    Raises
    ------
    UsageError
        It cannot be made or written.
    FolderInUse
        Another process has it.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / LOCK, timeout=0).acquire()
    except Timeout as error:
        raise FolderInUse(f"{printed(folder)} is in use by another process") from error
    except OSError as error:
        raise UsageError(f"cannot write to {printed(folder)}: {error.strerror}") from error
    with held:
        yield


def empty(folder: Path) -> None:
    """Delete all that stands in a folder that is owned."""
    for entry in folder.iterdir():
        if entry.name == LOCK:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
