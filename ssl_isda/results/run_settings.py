"""What results know of settings: those of a run, those that tell experiments apart, and the defaults."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

from ssl_isda.base.errors import UsageError
from ssl_isda.settings.components import read_components
from ssl_isda.settings.config import FLAG_ONLY, GROUPS, RUN_SETTINGS, WHERE_AND_HOW
from ssl_isda.settings.resolve import resolve
from ssl_isda.settings.yaml_files import PARTS, read_settings

ISDA_SETTINGS = frozenset(GROUPS["ISDA"])
"""They mean nothing without ISDA."""
NOT_OF_THE_EXPERIMENT = frozenset({"seed", "split", "fold", *GROUPS[WHERE_AND_HOW]})
"""Settings that may differ among runs that are averaged."""


def read_config(path: Path) -> dict[str, object]:
    """All settings of a run by name, those of its method included; what is not there has its default.

    Raises
    ------
    UsageError
        It is missing or no settings file, a value has the wrong type, or it names no method.
    """
    file = read_settings(path, path.name)
    settings = {
        name: setting.check(file.settings[name]) if name in file.settings else setting.default
        for name, setting in RUN_SETTINGS.items()
        if name not in FLAG_ONLY
    }
    if settings["method"] is None:
        raise UsageError(f"{path.name} names no method")
    chosen = [(kind, str(settings[kind])) for kind in reversed(PARTS)]
    used = dict.fromkeys([*chosen, *file.parts])  # in one order in every process
    options = {n: given.value for n, given in file.layer(used).items() if n not in RUN_SETTINGS}
    return with_defaults(_with_text({**settings, **options}))


def with_defaults(settings: Mapping[str, object]) -> dict[str, object]:
    """With the options that the run's parts did not have yet when it was trained, as their defaults."""
    parts = read_components().parts
    options = [
        option
        for kind, known in parts.items()
        for option in known.get(str(settings.get(kind)), {}).values()
    ]
    later = {o.name: o.default for o in options if o.name not in settings}
    return {**settings, **later}


def in_order(names: Iterable[str]) -> list[str]:
    """Settings of every run as ``--help`` has them, then the options of methods by name."""
    known = [name for group in GROUPS.values() for name in group if name not in FLAG_ONLY]
    return [*known, *sorted({*names} - {*known})]


def default(name: str) -> object:
    """The default of a setting; None for one that only some runs have."""
    return RUN_SETTINGS[name].default if name in RUN_SETTINGS else None


@functools.cache
def shipped(flags: tuple[str, ...], method: str) -> Mapping[str, object]:
    """The settings of a training that sets nothing but these flags: the defaults and ``configs/``;
    without the options of its method."""
    resolved = resolve(flags)
    left_out = FLAG_ONLY | resolved.options["method", method].keys()
    return {n: v for n, v in _with_text(resolved.values).items() if n not in left_out}


def _with_text(settings: Mapping[str, object]) -> dict[str, object]:
    return {name: str(v) if isinstance(v, Path) else v for name, v in settings.items()}
