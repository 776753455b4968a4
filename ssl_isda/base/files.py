"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_isda.base.errors import OutputFailed

TEMPORARY = ".partial"
"""Suffix of a file that is being written; one that a crash left behind is stray."""
UNREADABLE_ARCHIVE = (
    *(OSError, ValueError, EOFError, KeyError, MemoryError, OverflowError, SyntaxError, TypeError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
    *(NotImplementedError, RuntimeError),  # compressed in an unknown way, encrypted
)
"""What NumPy may raise over a damaged .npz file."""


def write_atomically(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``, all of it or nothing, so that it survives a power cut.

    Raises
    ------
    OutputFailed
        The disk is full or the folder cannot be written; what stood at ``path`` still does.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise output_failed(error, path, len(content)) from error


def write_json(path: Path, entries: Mapping[str, Any]) -> None:
    """One object as JSON, a line for each entry, however long. Raises as ``write_atomically``."""
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in entries.items()]
    write_atomically(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def output_failed(error: OSError, path: Path, size: int) -> OutputFailed:
    """The one line for a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return OutputFailed(f"disk full: {path} needs {max(size / 1e6, 0.1):.1f} MB")
    return OutputFailed(f"cannot write {path}: {error.strerror or error}")
