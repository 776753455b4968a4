"""A grid file: settings that all runs share, and blocks that each stand for a product of lists.

config: configs/cifar10_small.yaml      # optional; given to every run as --config
settings:                               # optional; one value each, for every run
  width: 0.5
runs:
  - method: [pi_model, vat]             # 2 x 2 x 3 runs; a single value is a list of one
    isda: [false, true]
    seed: [0, 1, 2]
  - config: [resnet32_cifar10, resnet32_cifar100]   # or so: each of these runs has one of them
    method: supervised
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import nearest, printed, shown
from ssl_isda.settings.components import Components
from ssl_isda.settings.config import FLAG_ONLY, RUN_SETTINGS
from ssl_isda.settings.places import known_names, settings_file
from ssl_isda.settings.yaml_files import Given, compose, given, pairs

if TYPE_CHECKING:
    from yaml import Node

_PARTS = ("config", "settings", "runs")

_NOT_HERE = {
    "fresh": "a retry would delete what is done",
    "extend": "runs are extended one by one",
    "plugin": "only a flag runs code",
}


@dataclass(frozen=True)
class Block:
    """All combinations of one value from each axis."""

    where: str
    """How an error line about it begins: "table6.yaml:12"."""
    axes: Mapping[str, tuple[Given, ...]]


@dataclass(frozen=True)
class GridFile:
    """What the file says, each name and value valid by itself; combinations are not judged yet."""

    source: str
    config: str | None
    """As it stands there, or where it was found: beside the grid file or one folder above."""
    settings: Mapping[str, Given]
    blocks: tuple[Block, ...]


def read_grid(path: Path, components: Components) -> GridFile:
    """The grid in ``path``.

    Parameters
    ----------
    components : every part with its options

    Raises
    ------
    UsageError
        It cannot be read, is no YAML, lacks ``runs``, or names what is unknown or wrong: one line
        with the place in the file.
    """
    source = printed(path)
    parts = pairs(compose(path, source), source)
    for name, (line, _) in parts.items():
        if name not in _PARTS:
            hint = nearest(name, _PARTS) or f" (known: {', '.join(_PARTS)})"
            raise UsageError(f"{source}:{line}: unknown part {shown(name)}{hint}")
    if "runs" not in parts:
        raise UsageError(f"{source} is no grid: it has no 'runs:', a list of what is to vary")
    settings = pairs(parts["settings"][1], source) if "settings" in parts else {}
    return GridFile(
        source,
        _config(path, *parts["config"]) if "config" in parts else None,
        {
            name: _checked(given(name, value, source, line), components, is_for_all=True)
            for name, (line, value) in settings.items()
        },
        tuple(_blocks(path, parts["runs"][1], components)),
    )


def _config(grid: Path, line: int, node: Node) -> str:
    source = printed(grid)
    text = given("config", node, source, line).value
    if not isinstance(text, str) or not text or "\0" in text:
        raise UsageError(f"{source}:{line}: config must be a path of a settings file")
    for folder in (Path(), grid.parent, grid.parent.parent):
        if os.path.isfile(folder / text):
            return str(folder / text)
    if os.path.isfile(settings_file(Path(text))):
        return text
    hint = nearest(text, known_names())
    raise UsageError(
        f"{source}:{line}: config: {shown(text)} is neither in the current folder nor beside this "
        f"file{hint}"
    )


def _blocks(path: Path, node: Node, components: Components) -> Iterator[Block]:
    import yaml

    source = printed(path)
    where = f"{source}:{node.start_mark.line + 1}"
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise UsageError(f"{where}: runs must be a list of blocks, such as '- method: [vat]'")
    for item in node.value:
        axes = {
            name: tuple(_values(path, name, *at, components))
            for name, at in pairs(item, source).items()
        }
        yield Block(f"{source}:{item.start_mark.line + 1}", axes)


def _values(
    path: Path, name: str, line: int, node: Node, components: Components
) -> Iterator[Given]:
    import yaml

    source = printed(path)
    if name == "runs_dir":
        raise UsageError(f"{source}:{line}: runs_dir belongs under 'settings:', or to the command")
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not nodes:
        raise UsageError(f"{source}:{line}: {printed(name)} has no values; no run would be left")
    values = [given(name, each, source, line) for each in nodes]
    if name == "config":
        files = (_config(path, line, each) for each in nodes)
        values = [replace(value, value=file) for value, file in zip(values, files, strict=True)]
    else:
        values = [_checked(value, components) for value in values]
    for index, value in enumerate(values):
        if value.value in [other.value for other in values[:index]]:
            raise UsageError(f"{value.place} names {value.text} twice; each is one run")
    yield from values


def _checked(value: Given, components: Components, *, is_for_all: bool = False) -> Given:
    """Refuse an unknown name, and a value that no owner of the name would take."""
    if value.name in FLAG_ONLY:
        raise UsageError(f"{value.place} has no place in a grid: {_NOT_HERE[value.name]}")
    known = [*RUN_SETTINGS.values(), *(option for _, _, option in components.options())]
    settings = [setting for setting in known if setting.name == value.name]
    if not settings:
        hint = nearest(value.name, (setting.name for setting in known))
        raise UsageError(f"{value.where}: unknown setting {shown(value.name)}{hint}")
    for setting in settings:
        if is_for_all and value.text == "a list" and not setting.item:
            raise UsageError(f"{value.place} is one value here; lists belong under 'runs:'")
        setting.check(value)
    return value
