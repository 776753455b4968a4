"""One small table of names for each kind of part: methods, networks, losses, data sets and so on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ssl_isda.base.words import unknown_name

T = TypeVar("T")


@dataclass(frozen=True)
class NoOptions:
    """The options of a part that has none."""


def _origin(entry: object) -> tuple[object, object]:
    """Where an entry was written: a cell of a notebook that runs again replaces what it registered."""
    return getattr(entry, "__module__", entry), getattr(entry, "__qualname__", entry)


class Registry(Generic[T]):
    """Names and what they stand for.

    ``@METHODS.register("vat")`` above a class files it; ``METHODS["vat"]`` finds it, and
    ``METHODS.config("vat")`` the dataclass of its options.

    Raises
    ------
    ValueError
        A name is registered twice, or an unknown one is asked for.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._configs: dict[str, type[Any]] = {}

    def register(self, name: str, config: type | None = None) -> Callable[[T], T]:
        """The decorator that files its object under ``name`` and returns it unchanged.

        Parameters
        ----------
        config : the dataclass of its options; None: ``Config`` of the entry's module, which stands
            above it there
        """

        def file_it(entry: T) -> T:
            if name in self._entries and _origin(self._entries[name]) != _origin(entry):
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            module = sys.modules.get(getattr(entry, "__module__", ""))
            own: type[Any] = getattr(module, "Config", NoOptions)
            self._configs[name] = config or own
            return entry

        return file_it

    def config(self, name: str) -> type[Any]:
        """The dataclass of the options of ``name``; one without fields where it has none."""
        self[name]  # an unknown name is told as everywhere
        return self._configs[name]

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise ValueError(unknown_name(self.kind, name, sorted(self._entries)))
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)
