"""What people see of a program at work: lines, and a bar on a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import IO, Any, TypeVar

Item = TypeVar("Item")
_SILENT: ContextVar[bool] = ContextVar("silent", default=False)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Within the block this thread prints nothing and shows no bar."""
    before = _SILENT.set(True)
    try:
        yield
    finally:
        _SILENT.reset(before)


def shows_bars(stream: IO[str] | None = None) -> bool:
    """Whether ``stream`` (stderr) is a terminal on which a line can be drawn again."""
    return (stream or sys.stderr).isatty() and os.environ.get("TERM") != "dumb"


@contextlib.contextmanager
def bar(total: int, unit: str, *, first: int = 0, hidden: bool = False) -> Iterator[Any]:
    """tqdm's bar from ``first`` to ``total``, on a terminal; elsewhere None, and nothing is shown."""
    if hidden or _SILENT.get() or not shows_bars():
        yield None
        return
    from tqdm import tqdm

    with tqdm(initial=first, total=total, unit=unit, leave=False, dynamic_ncols=True) as shown:
        yield shown


def counted(
    items: Iterable[Item], total: int, unit: str, size: Callable[[Item], int] = lambda item: 1
) -> Iterator[Item]:
    """The same items, with a bar that moves by the ``size`` of each once it is dealt with."""
    with bar(total, unit) as shown:
        for item in items:
            yield item
            if shown is not None:
                shown.update(size(item))


def show(line: str, bar: Any = None, stream: IO[str] | None = None) -> None:
    """Print ``line``; a reader who has gone away (``| head``) is no reason to stop training."""
    if _SILENT.get():
        return
    stream = stream or sys.stdout
    try:
        if bar is not None:
            bar.write(line)
        else:
            print(line, file=stream, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def duration(seconds: float) -> str:
    """A length of time for people: ``45 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
