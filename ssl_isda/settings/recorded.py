"""The settings that a run was trained with, read from its folder. Imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ssl_isda.base.errors import UsageError
from ssl_isda.settings.config import Resolved
from ssl_isda.settings.resolve import resolve


class Place(Protocol):
    """Where a run is evaluated now, whatever its settings say: None leaves them."""

    @property
    def data_dir(self) -> Path | None: ...
    @property
    def device(self) -> str | None: ...
    @property
    def threads(self) -> int | None: ...
    @property
    def plugin(self) -> str | None: ...


@dataclass(frozen=True)
class Elsewhere:
    """A place of which nothing need be said but what differs from the run's own."""

    data_dir: Path | None = None
    device: str | None = None
    threads: int | None = None
    plugin: str | None = None


def settings_of_run(path: Path, place: Place) -> Resolved:
    """Its recorded settings, with what ``place`` says about where it runs now."""
    if not os.path.isdir(path):
        raise UsageError(f"{path}: no such run; a folder with config.yaml is needed")
    for name in ("config.yaml", "split.json"):
        if not os.path.isfile(path / name):
            raise UsageError(f"{path} is no run: it has no {name}")
    if not any(path.glob("checkpoint.pt*")):
        raise UsageError(no_checkpoint(path))
    names = ("data_dir", "device", "threads", "plugin")
    where = {name: getattr(place, name) for name in names}
    flags = [
        f"--{name.replace('_', '-')}={value}" for name, value in where.items() if value is not None
    ]
    return resolve([f"--config={path / 'config.yaml'}", "--no-compile", *flags])


def no_checkpoint(path: Path) -> str:
    if os.path.isfile(path / "result.json"):
        return f"{path} is done, but its checkpoint is not here: --fresh trains it again"
    return f"{path} has no checkpoint yet: train it first"
