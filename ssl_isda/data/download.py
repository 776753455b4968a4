"""Downloads that are either whole, checked and in place, or not there at all."""

from __future__ import annotations

import hashlib
import http.client
import queue
import shutil
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_isda.base.errors import OutputFailed, UsageError

CONNECT_SECONDS = 3.5
"""Longest wait for a server's first answer, names, redirects and all."""
STALL_SECONDS = 30.0
"""Longest silence in the middle of a download."""
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class DataFile:
    """A file of a published data set: where it belongs, and its published MD5."""

    path: Path
    md5: str


def absent(files: Sequence[DataFile]) -> list[DataFile]:
    """Those of ``files`` that are not there.

    Raises
    ------
    UsageError
        One is there with another content than the published one.
    """
    return [file for file in files if not is_intact(file)]


def is_intact(file: DataFile) -> bool:
    """True: there and right; False: not there.

    Raises
    ------
    UsageError
        There, but unreadable or not of the published content.
    """
    try:
        if not file.path.exists():
            return False
        with open(file.path, "rb") as stream:
            found = hashlib.md5(usedforsecurity=False)
            while chunk := stream.read(CHUNK_BYTES):
                found.update(chunk)
    except OSError as error:
        raise UsageError(f"cannot read {file.path}: {error.strerror}") from error
    if found.hexdigest() != file.md5:
        raise UsageError(
            f"{file.path} is damaged: its MD5 is {found.hexdigest()}, the published one is "
            f"{file.md5}; delete it and run the command again"
        )
    return True


def provide(
    dataset: str,
    data_dir: Path,
    files: Sequence[DataFile],
    obtain: Callable[[Path, list[DataFile]], None],
) -> None:
    """Make sure that all ``files`` are in place, fetching those that are not.

    Of several processes one calls ``obtain(workspace, wanted)``, which puts the wanted files into
    the folder ``workspace`` under their own names; the others wait for it. A file moves into place
    only after its MD5 has been found right, by one rename.

    Raises
    ------
    UsageError
        A file in place is damaged, ``data_dir`` cannot be written, or ``obtain`` raised it.
    """
    if not absent(files):
        return
    with _workspace(dataset, data_dir) as workspace:
        wanted = absent(files)
        if not wanted:
            return
        obtain(workspace, wanted)
        for file in wanted:
            fresh = DataFile(workspace / file.path.name, file.md5)
            if not is_intact(fresh):
                raise UsageError(f"what was downloaded for {dataset} lacks {file.path.name}")
            file.path.parent.mkdir(parents=True, exist_ok=True)
            fresh.path.replace(file.path)


@contextmanager
def _workspace(dataset: str, data_dir: Path) -> Iterator[Path]:
    """An empty folder in ``data_dir`` that only one process at a time holds."""
    from filelock import FileLock

    workspace = data_dir / f".{dataset}.download"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(data_dir / f".{dataset}.lock")
        lock.acquire()
    except OSError as error:
        raise UsageError(
            f"{dataset} is not in {data_dir}, which cannot be written ({error.strerror}): choose "
            "another data folder, or --dataset digits, which needs none"
        ) from error
    try:
        shutil.rmtree(workspace, ignore_errors=True)
        workspace.mkdir()
        yield workspace
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
        lock.release()


def fetch(dataset: str, url: str, target: DataFile, data_dir: Path) -> None:
    """Download ``url`` to ``target.path`` and check it.

    Raises
    ------
    UsageError
        The server cannot be reached, falls silent, or sends something else. The text says where the
        data were looked for and how to get them.
    OutputFailed
        The disk is full.
    """
    digest = hashlib.md5(usedforsecurity=False)
    advice = (
        f"{dataset} is not in {data_dir}; put the file from {url} there, or use --dataset digits, "
        "which needs no download"
    )
    try:
        with _open(url) as response, _new_file(target.path) as file:
            for chunk in _chunks(response, url):
                digest.update(chunk)
                _write(file, chunk, target.path)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = str(getattr(error, "reason", None) or error) or type(error).__name__
        reason = " ".join(reason.split())
        raise UsageError(f"{url} cannot be downloaded ({reason}): {advice}") from error
    if digest.hexdigest() != target.md5:
        raise UsageError(
            f"the download of {url} was cut short or is not the published file (MD5 "
            f"{digest.hexdigest()} instead of {target.md5}); nothing of it is kept: {advice}"
        )


def _open(url: str) -> Any:
    """The server's answer, or TimeoutError after ``CONNECT_SECONDS``.

    A socket's timeout bounds neither name lookup nor the sum over several addresses; waiting for a
    thread does.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(url, timeout=STALL_SECONDS))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer within {CONNECT_SECONDS:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _chunks(response: Any, url: str) -> Iterator[bytes]:
    """The body, piece by piece; with a progress bar on a terminal."""
    from tqdm import tqdm

    length = response.headers.get("Content-Length")
    total = int(length) if length else None
    bar = tqdm(
        desc=url.rsplit("/", 1)[-1],
        total=total,
        unit="B",
        unit_scale=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        while chunk := response.read(CHUNK_BYTES):
            bar.update(len(chunk))
            yield chunk


def _new_file(path: Path) -> Any:
    try:
        return open(path, "wb")
    except OSError as error:
        raise OutputFailed(f"cannot write {path}: {error.strerror}") from error


def _write(file: Any, chunk: bytes, path: Path) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise OutputFailed(f"cannot write {path}: {error.strerror}") from error
