"""Checkpoints: atomic, checksummed, free of code, with the previous one kept.

A file is one header line that names the format's version and the SHA-256 of the rest, then what
``torch.save`` wrote. ``torch.load`` alone would read a flipped bit without a word.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ssl_isda.base.files import TEMPORARY, sync_folder, write_atomically

VERSION = 2
MAGIC = b"ssl-isda checkpoint"
HEADER = re.compile(MAGIC + rb" ([1-9][0-9]{0,5}) ([0-9a-f]{64})")


class CheckpointDamaged(Exception):
    """A checkpoint that cannot be used; the message says why."""


def _from_1_to_2(state: dict[str, Any]) -> dict[str, Any]:
    """Version 1 said nothing of gradients, nor of where and how it was computed."""
    return {**state, "gradient_norms": {}, "computed_on": {}}


MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1_to_2}
"""By version: what makes a state of it one of the next version."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dicts), keeping the one before beside it.

    Raises
    ------
    OutputFailed
        It could not be written; the one that stood there still does.
    """
    fresh = path.with_name(path.name + ".new")
    write(fresh, state)
    if path.exists():
        os.replace(path, previous(path))
    os.replace(fresh, path)
    sync_folder(path.parent)


def write(path: Path, state: dict[str, Any]) -> None:
    """The same over whatever stood at ``path``, of which nothing is kept. Raises as ``save``."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    header = b"%s %d %s\n" % (MAGIC, VERSION, hashlib.sha256(payload).hexdigest().encode())
    write_atomically(path, header + payload)


def previous(path: Path) -> Path:
    """Where the checkpoint before the one at ``path`` is kept."""
    return path.with_name(path.name + ".previous")


def candidates(path: Path) -> list[Path]:
    """The files that may hold the state kept at ``path``, the newest first."""
    places = (path.with_name(path.name + ".new"), path, previous(path))
    return [place for place in places if place.exists()]


def load(path: Path | str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read and verify one checkpoint, made anew in today's version. Nothing in it is executed.

    Raises
    ------
    CheckpointDamaged
        It is not a checkpoint, is cut, altered, or from a newer version.
    """
    path = Path(path)
    try:
        header, _, payload = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise CheckpointDamaged(f"cannot read {path}: {error.strerror}") from error
    fields = HEADER.fullmatch(header)
    if not fields:
        raise CheckpointDamaged(f"{path} is not a checkpoint of this program")
    version, checksum = int(fields[1]), fields[2].decode()
    if version > VERSION:
        raise CheckpointDamaged(
            f"{path} has format {version}; this version reads up to {VERSION}: update it"
        )
    if hashlib.sha256(payload).hexdigest() != checksum:
        raise CheckpointDamaged(f"{path} is damaged: its SHA-256 does not match its content")
    state = _unpacked(payload, device, path)
    for older in range(version, VERSION):
        state = MIGRATIONS[older](state)
    return state


def _unpacked(payload: bytes, device: torch.device | str, path: Path) -> dict[str, Any]:
    try:
        state = torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointDamaged(f"{path} holds more than tensors: it was not loaded") from error
    except Exception as error:  # unchecked bytes: the reader may fail in any way
        raise CheckpointDamaged(f"{path} cannot be unpacked ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise CheckpointDamaged(f"{path} holds no run but a {type(state).__name__}")
    return state


def load_latest(
    path: Path | str, device: torch.device | str = "cpu"
) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest checkpoint that is whole, or None if there never was one; and what was passed over.

    Each complaint is about one of ``candidates(path)``, in their order; the next one was loaded.

    Parameters
    ----------
    path : ``RUN/checkpoint.pt``; the ones before and after it, by their other names, are found beside it

    Raises
    ------
    CheckpointDamaged
        There are checkpoints and none can be used: starting over is for the user to decide. Or the
        path is wrong: its folder is not there, or it is the folder of a run.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise CheckpointDamaged(f"{path}: there is no folder {path.parent}")
    if (path / "checkpoint.pt").exists():
        raise CheckpointDamaged(
            f"{path} is the folder of a run: its {path / 'checkpoint.pt'} is meant"
        )
    complaints: list[str] = []
    for candidate in candidates(path):
        try:
            return load(candidate, device), complaints
        except CheckpointDamaged as error:
            complaints.append(str(error))
    if complaints:
        raise CheckpointDamaged("; ".join(complaints))
    return None, []


def remove_stray_files(folder: Path) -> None:
    """Remove what a killed process was writing."""
    for stray in folder.glob(f"*{TEMPORARY}"):
        stray.unlink()
