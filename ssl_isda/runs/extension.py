"""A finished run that goes on to a greater length (``--extend``): when it may, and what is kept of it.

What is done counts as it is: its steps were taken under the schedules of the shorter run. So the result
is not that of a run which had the greater length from the start, and says from where it was extended.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import printed
from ssl_isda.settings.config import RunConfig
from ssl_isda.settings.yaml_files import read_settings

LENGTHS = frozenset({"steps", "epochs"})
EARLIER = "earlier.json"
"""The result of the shorter run, until the longer one has its own, and beside it afterwards."""


def refuse_other_settings(
    path: Path, config: RunConfig, differing: Mapping[str, str], done: Mapping[str, Any] | None
) -> None:
    """Refuse to go on in ``path`` with other settings, unless they are a greater length, asked for.

    Parameters
    ----------
    differing : by setting, how it is there and how it is asked for now
    done : the result of the run that is there, if it is finished

    Raises
    ------
    UsageError
        Names what differs and what can be done.
    """
    listed = "; ".join(differing.values())
    has_other_length = differing.keys() <= LENGTHS
    if config.extend and has_other_length and done is None:
        raise UsageError(
            f"--extend: {path} holds a run that is not finished ({listed}): let it end at its own "
            "length first, without --extend"
        )
    is_longer = has_other_length and done is not None and _is_longer(path, config, done)
    if config.extend and is_longer:
        return
    if config.extend and has_other_length and done:
        raise UsageError(
            f"--extend: {path} has {done.get('steps')} steps and would get no more ({listed}): ask for "
            "a greater length"
        )
    more = "; --extend goes on from its end" * is_longer + "; --extend changes the length alone" * (
        config.extend and not has_other_length
    )
    raise UsageError(
        f"{path} holds a run with other settings ({listed}): take its settings, another --runs-dir, or "
        f"--fresh to delete it{more}"
    )


def finished_length(path: Path, result: Path, config_file: Path) -> Mapping[str, Any] | None:
    """The result of a run in ``path`` that is finished at the length in its settings; None if it is not.

    One that a kill caught between the two steps of ``put_aside`` is.
    """
    if (found := _read(result)) is not None:
        return found
    earlier = _read(path / EARLIER)
    there = read_settings(config_file, printed(config_file)).settings
    steps, epochs = (there[name].value if name in there else None for name in ("steps", "epochs"))
    if earlier and (earlier.get("steps") == steps if steps else earlier.get("epochs") == epochs):
        return earlier
    return None


def put_aside(path: Path, result: Path, steps: object) -> None:
    """Make a finished run one that is not: its settings are written anew after that.

    Snapshots of the shorter run stay under another name: they belong to its schedules.
    """
    if result.exists():
        os.replace(result, path / EARLIER)
    if (path / "snapshots").is_dir():
        os.replace(path / "snapshots", path / f"snapshots-of-{steps}-steps")


def extended_from(path: Path, num_steps: int) -> list[list[float]]:
    """Steps and error of each shorter run that this one of ``num_steps`` began as."""
    earlier = _read(path / EARLIER) or {}
    chain = [*earlier.get("extended_from", []), [earlier.get("steps"), earlier.get("error")]]
    return [[steps, error] for steps, error in chain if steps is not None and steps < num_steps]


def _is_longer(path: Path, config: RunConfig, done: Mapping[str, Any]) -> bool:
    """By steps, as far as the epochs of the run tell how many one has."""
    if config.steps:
        return bool(config.steps > done.get("steps", config.steps))
    if config.epochs == done.get("epochs"):  # of which the last may have been cut short
        first = _read_line(path / "metrics.jsonl")
        return bool(config.epochs * first.get("step", 0) > done.get("steps", 0))
    return bool(config.epochs > done.get("epochs", config.epochs))


def _read_line(file: Path) -> dict[str, Any]:
    """The first line of a file, as far as it is a JSON object."""
    try:
        with open(file, encoding="utf-8") as lines:
            content = json.loads(lines.readline())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read(file: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
