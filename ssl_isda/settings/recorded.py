"""The settings that a run was trained with, read from its folder. Imports no torch."""

from __future__ import annotations

import os
from pathlib import Path

from ssl_isda.base.errors import UsageError
from ssl_isda.settings.config import Resolved
from ssl_isda.settings.options import Place
from ssl_isda.settings.resolve import resolve


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
