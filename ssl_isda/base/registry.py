"""One small table of names for methods, data sets and models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from ssl_isda.base.words import unknown_name

T = TypeVar("T")


class Registry(Generic[T]):
    """Names and what they stand for.

    ``@METHODS.register("vat")`` above a class files it; ``METHODS["vat"]`` finds it.

    Raises
    ------
    ValueError
        A name is registered twice, or an unknown one is asked for.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """The decorator that files its object under ``name`` and returns it unchanged."""

        def file_it(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return file_it

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
