"""The parts that a run can choose from, and the options of each, of every kind.

Their names and options are read from the sources of their folders: nothing of them, and so no torch, is
imported. A plugin's source is read the same way. Parts that a Python program has registered itself are
found where their registry is already imported.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ssl_isda.base.errors import UsageError
from ssl_isda.base.registry import Registry
from ssl_isda.base.words import unknown_name
from ssl_isda.settings.config import RUN_SETTINGS
from ssl_isda.settings.declarations import Declared, declared, options_of
from ssl_isda.settings.places import folder, plugin_files
from ssl_isda.settings.setting import Setting
from ssl_isda.settings.yaml_files import PARTS

FOLDERS = {
    "method": "methods",
    "model": "models",
    "loss": "losses",
    "optimizer": "optim",
    "schedule": "optim/schedules",
    "policy": "data/augmentations",
    "dataset": "datasets",
    "task": "tasks",
}
"""Where the sources of the parts lie that each of these settings chooses."""
FURTHER_POLICIES = ("data/vectors", "data/masks")
"""Where the sources of the augmentations of vectors lie, and of images together with their masks."""
_WORDS = {"policy": "augmentation", "dataset": "data set"}
_OTHER_FLAGS = ("config", "seeds", "help", "version", "print_config")


@dataclass(frozen=True, eq=False)
class Components:
    """Every part by the setting that chooses it and by name, with its options."""

    parts: Mapping[str, Mapping[str, Mapping[str, Setting]]]
    texts: Mapping[str, Collection[str]]
    """Of each method: the words in quotes in its file, among them the augmentations that it names."""

    def options(self) -> Iterator[tuple[str, str, Setting]]:
        """Every option with its kind and its part."""
        for kind, named in self.parts.items():
            for name, options in named.items():
                yield from ((kind, name, option) for option in options.values())

    def owners(self, option: str) -> list[tuple[str, str]]:
        """The parts that have an option of this name, each with its kind."""
        return self._owners.get(option, [])

    @functools.cached_property
    def _owners(self) -> dict[str, list[tuple[str, str]]]:
        owners: dict[str, list[tuple[str, str]]] = {}
        for kind, part, option in self.options():
            owners.setdefault(option.name, []).append((kind, part))
        return owners

    def of(self, kind: str, name: str) -> Mapping[str, Setting]:
        """The options of one part.

        Raises
        ------
        UsageError
            There is no such part.
        """
        if name not in self.parts[kind]:
            known = sorted(self.parts[kind])
            raise UsageError(unknown_name(_WORDS.get(kind, kind), name, known))
        return self.parts[kind][name]

    def used(self, chosen: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The chosen parts with their kinds, and the augmentations that the method's file names."""
        texts = self.texts.get(chosen["method"], ())
        named = [("policy", name) for name in self.parts["policy"] if name in texts]
        return list(dict.fromkeys([*chosen.items(), *named]))

    def of_run(self, chosen: Mapping[str, str]) -> dict[tuple[str, str], Mapping[str, Setting]]:
        """The options of the parts that are used, by kind and name.

        Raises
        ------
        UsageError
            Two of them have an option of one name.
        """
        found = {(kind, name): self.parts[kind].get(name, {}) for kind, name in self.used(chosen)}
        first: dict[str, Setting] = {}
        for option in (option for options in found.values() for option in options.values()):
            other = first.setdefault(option.name, option)
            if other is not option:
                raise UsageError(
                    f"{option.place} is an option of {other.place.rpartition(':')[0]} too; parts that "
                    "are used together need names of their own"
                )
        return found


def read_components(plugin: str | None = None) -> Components:
    """Every part there is.

    Parameters
    ----------
    plugin : a file or module whose parts are added

    Raises
    ------
    UsageError
        A file cannot be read or is no Python, a field is not what an option can be, or a name is taken.
    """
    declarations = [*_of_the_package(), *_of_a_plugin(plugin)]
    return _joined(tuple(declarations), tuple(_registered_parts()))


@functools.lru_cache(8)
def _joined(
    declarations: tuple[Declared, ...], registered: tuple[tuple[str, str, type[Any]], ...]
) -> Components:
    """One object for all runs that have the same parts."""
    parts: dict[str, dict[str, Mapping[str, Setting]]] = {kind: {} for kind in PARTS}
    texts: dict[str, Collection[str]] = {}
    places: dict[tuple[str, str], str] = {}
    for part in declarations:
        kind = next((kind for kind, word in PARTS.items() if word.upper() == part.registry), None)
        if kind is None:
            continue
        first = places.setdefault((kind, part.name), part.place)
        if first != part.place:
            raise UsageError(f"{part.place}: {part.name} is registered in {first} already")
        parts[kind][part.name] = part.options
        if kind == "method":
            texts[part.name] = part.texts
    for kind, name, config in registered:
        if name not in parts[kind]:
            parts[kind][name] = options_of(config)
    for name in parts["method"].keys() - texts.keys():
        texts[name] = parts["policy"]  # without a source it may name any
    components = Components(parts, texts)
    _check_names(components)
    return components


@functools.cache
def _of_the_package() -> tuple[Declared, ...]:
    """Read once in a process, as Python imports it once."""
    folders = [folder(name) for name in (*FOLDERS.values(), *FURTHER_POLICIES)]
    paths = [path for each in folders for path in sorted(each.glob("*.py"))]
    return tuple(part for path in paths for part in declared(path))


def _of_a_plugin(plugin: str | None) -> Iterator[Declared]:
    for path in plugin_files(plugin) if plugin else ():
        yield from declared(path)


def _registered_parts() -> Iterator[tuple[str, str, type[Any]]]:
    """What registries hold that are imported already, each with the class of its options."""
    for module in [module for name, module in sys.modules.items() if name.startswith("ssl_isda.")]:
        for kind, word in PARTS.items():
            registry = vars(module).get(word.upper())
            if isinstance(registry, Registry):
                yield from ((kind, name, registry.config(name)) for name in registry)


def _check_names(components: Components) -> None:
    """A flag has one owner among the settings, and takes a value or does not before it is known."""
    first: dict[str, tuple[str, Setting]] = {}
    for _, part, option in components.options():
        if option.name in RUN_SETTINGS or option.name in _OTHER_FLAGS:
            raise UsageError(
                f"{option.place} is a setting of every run already; call the option otherwise"
            )
        other, before = first.setdefault(option.name, (part, option))
        if option.is_switch != before.is_switch or bool(option.item) != bool(before.item):
            kind = "a bool" if option.is_switch or before.is_switch else "a list"
            raise UsageError(
                f"{option.name} is {kind} in only one of {other} and {part}; rename it"
            )
