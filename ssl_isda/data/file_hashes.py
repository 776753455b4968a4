"""The SHA-256 of each file of a data folder, kept there so that a file is read once. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ssl_isda.base.errors import OutputFailed
from ssl_isda.base.files import write_atomically
from ssl_isda.base.progress import counted

NUM_THREADS = min(8, os.cpu_count() or 1)


def file_hashes(
    root: Path, marks: Mapping[str, Sequence[int]]
) -> tuple[dict[str, str], dict[str, str]]:
    """SHA-256, hexadecimal, of the files' bytes by name; only new and changed files are read.

    Beside them the files that cannot be opened or read, and what can be done about each.

    They are kept in ``root/.cache/hashes.json``. Where that cannot be written, the next command reads
    the files again.

    Parameters
    ----------
    marks : for each name relative to ``root``, numbers that differ once the file has changed
    """
    kept_in = root / ".cache" / "hashes.json"
    kept = _read(kept_in)
    hashes = {name: kept[name][1] for name, mark in marks.items() if _is_of(kept.get(name), mark)}
    missing = [name for name in marks if name not in hashes]
    failures: dict[str, str] = {}
    if missing:
        found = _hashed(root, missing)
        hashes |= {name: each for name, each in found.items() if isinstance(each, str)}
        failures = {
            name: _advice(each) for name, each in found.items() if isinstance(each, OSError)
        }
        content = {name: [list(marks[name]), each] for name, each in hashes.items()}
        _write(kept_in, json.dumps(content).encode())
    return hashes, failures


def _is_of(entry: object, mark: Sequence[int]) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and entry[0] == list(mark)
        and isinstance(entry[1], str)
    )


def _advice(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "you may not read it: change its permissions"
    return f"{error.strerror or type(error).__name__}: look after the disk it lies on, or remove it"


def _hashed(root: Path, names: Sequence[str]) -> dict[str, str | OSError]:
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        hashes = threads.map(lambda name: _hash(root / name), names)
        shown = counted(zip(names, hashes, strict=True), len(names), "file", lambda pair: 1)
        return dict(shown)


def _hash(path: Path) -> str | OSError:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        return error
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _write(path: Path, content: bytes) -> None:
    """One process after the other: all of them write through one temporary file."""
    from filelock import FileLock

    try:
        path.parent.mkdir(exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            write_atomically(path, content)
    except OSError as error:
        print(f"not kept for the next run: {path}: {error.strerror or error}", file=sys.stderr)
    except OutputFailed as error:
        print(f"not kept for the next run: {error}", file=sys.stderr)
