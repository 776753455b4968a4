"""SIGTERM interrupts a grid as Ctrl-C does, so that its runs can save."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Within, SIGTERM raises ``Terminated``."""
    before = signal.getsignal(signal.SIGTERM)
    hear_sigterm()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def hear_sigterm() -> None:
    """Hear it again, where somebody else has put an answer of their own."""
    signal.signal(signal.SIGTERM, _raise)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Terminated
