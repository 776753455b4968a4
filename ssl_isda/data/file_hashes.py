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

from ssl_isda.base.errors import OutputFailed, UsageError
from ssl_isda.base.files import write_atomically
from ssl_isda.base.progress import counted

NUM_THREADS = min(8, os.cpu_count() or 1)


def file_hashes(root: Path, marks: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """SHA-256, hexadecimal, of the files' bytes by name; only new and changed files are read.

    They are kept in ``root/.cache/hashes.json``. Where that cannot be written, the next command reads
    the files again.

    Parameters
    ----------
    marks : for each name relative to ``root``, numbers that differ once the file has changed

    Raises
    ------
    UsageError
        A file cannot be read; the text names it.
    """
    kept_in = root / ".cache" / "hashes.json"
    kept = _read(kept_in)
    hashes = {name: kept[name][1] for name, mark in marks.items() if _is_of(kept.get(name), mark)}
    missing = [name for name in marks if name not in hashes]
    if missing:
        hashes |= _hashed(root, missing)
        content = {name: [list(mark), hashes[name]] for name, mark in marks.items()}
        _write(kept_in, json.dumps(content).encode())
    return hashes


def _is_of(entry: object, mark: Sequence[int]) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and entry[0] == list(mark)
        and isinstance(entry[1], str)
    )


def _hashed(root: Path, names: Sequence[str]) -> dict[str, str]:
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        hashes = threads.map(lambda name: _hash(root / name), names)
        shown = counted(zip(names, hashes, strict=True), len(names), "file", lambda pair: 1)
        return dict(shown)


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UsageError(f"cannot read {os.fsencode(path).decode('utf-8', 'replace')!r}") from error
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        print(f"not kept for the next run: {path}: {error.strerror or error}", file=sys.stderr)
    except OutputFailed as error:
        print(f"not kept for the next run: {error}", file=sys.stderr)
