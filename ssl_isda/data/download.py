"""Downloads that are either whole, checked and in place, or not there at all."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_isda.base.errors import OutputFailed, UsageError
from ssl_isda.base.progress import shows_bars

if TYPE_CHECKING:
    from pooch import Untar

TIMEOUT = 30.0
"""Seconds that a server may take to answer, and be silent for in the middle of a download."""
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class DataFile:
    """A file of a published data set."""

    name: str
    """Its path within the data folder; within an archive it is the same."""
    md5: str
    """Empty for a member of an archive of which only the whole has a published one."""
    url: str = ""
    """Where it is published; empty for a member of an archive."""


def provide(
    dataset: str, data_dir: Path, files: Sequence[DataFile], archive: DataFile | None = None
) -> None:
    """Make sure that all ``files`` are in ``data_dir``, downloading those that are missing.

    Members of an ``archive`` are unpacked from the one in ``data_dir``, or from one that is downloaded
    for that and not kept. Of several processes one downloads and the others wait. A file moves into
    place only after its MD5 has been found right, by one rename.

    Raises
    ------
    UsageError
        A file in place is damaged, ``data_dir`` cannot be written, or the server cannot be reached,
        falls silent or sends something else; says where the data were looked for and how to get them.
    OutputFailed
        The disk is full.
    """
    if not _absent(files, data_dir):
        return
    with _workspace(dataset, data_dir) as workspace:
        wanted = _absent(files, data_dir)
        if archive and wanted:
            from pooch import Untar

            place = workspace if _absent([archive], data_dir) else data_dir
            unpack = Untar([file.name for file in wanted], extract_dir=str(workspace))
            _fetch(dataset, data_dir, archive, place, unpack)
        for file in wanted:
            if not archive:
                _fetch(dataset, data_dir, file, workspace)
            if _absent([file], workspace):
                raise UsageError(f"the archive of {dataset} has no {file.name}")
            target = data_dir / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            (workspace / file.name).replace(target)


def _absent(files: Sequence[DataFile], folder: Path) -> list[DataFile]:
    """Those that are not in ``folder``.

    Raises
    ------
    UsageError
        One is there, but cannot be read or has another content than the published one.
    """
    import pooch

    absent = [file for file in files if not (folder / file.name).exists()]
    for file in files:
        if file in absent or not file.md5:
            continue
        try:
            found = pooch.file_hash(str(folder / file.name), "md5")
        except OSError as error:
            raise UsageError(f"cannot read {folder / file.name}: {error.strerror}") from error
        if found != file.md5:
            raise UsageError(
                f"{folder / file.name} is damaged: its MD5 is {found}, the published one is "
                f"{file.md5}; delete it and run the command again"
            )
    return absent


@contextmanager
def _workspace(dataset: str, data_dir: Path) -> Iterator[Path]:
    """An empty folder in ``data_dir`` that only one process at a time holds."""
    from filelock import FileLock

    workspace = data_dir.absolute() / f".{dataset}.download"
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


def _fetch(
    dataset: str, data_dir: Path, file: DataFile, place: Path, unpack: Untar | None = None
) -> None:
    """Download ``file`` into ``place`` unless it is there; ``unpack`` takes members out of it."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    advice = (
        f"{dataset} is not in {data_dir}; put the file from {file.url} there, or use --dataset digits, "
        "which needs no download"
    )
    server = pooch.HTTPDownloader(shows_bars(), CHUNK_BYTES, timeout=TIMEOUT)
    try:
        pooch.retrieve(file.url, f"md5:{file.md5}", file.name, place, unpack, server)
    except requests.RequestException as error:
        raise UsageError(f"{file.url} cannot be downloaded ({_reason(error)}): {advice}") from error
    except (ValueError, tarfile.TarError) as error:
        raise UsageError(
            f"what {file.url} sends is not the published file; nothing of it is kept: {advice}"
        ) from error
    except OSError as error:
        raise OutputFailed(f"cannot write to {data_dir}: {error.strerror or error}") from error


def _reason(error: BaseException) -> str:
    """In the words of the exception at the root: ``Connection refused``, not a pool of connections."""
    if error.__context__ is not None:
        return _reason(error.__context__)
    return " ".join(str(error).split()) or type(error).__name__
