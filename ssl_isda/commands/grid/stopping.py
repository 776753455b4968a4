"""SIGTERM interrupts a grid as Ctrl-C does, so that its runs can save."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

heard: list[int] = []
"""The signals that came: of the exception itself Ray makes another one."""


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Within, SIGTERM raises KeyboardInterrupt, and is ``heard``."""
    before = signal.getsignal(signal.SIGTERM)
    hear_sigterm()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def hear_sigterm() -> None:
    """Hear it again after a library has installed a handler of its own."""
    heard.clear()
    signal.signal(signal.SIGTERM, _raise)


def _raise(number: int, frame: FrameType | None) -> None:
    heard.append(number)
    raise KeyboardInterrupt
