"""Threads that a process does not wait for: what they make, and when they end."""

from __future__ import annotations

import threading
import time

import pytest

from ssl_isda.data.decoding_threads import DecodingThreads


def test_calls_begin_in_their_order_and_give_what_they_return_or_raise() -> None:
    threads, begun = DecodingThreads(1), []
    assert threads.last_end == 0.0
    coming = [threads.submit(lambda k: begun.append(k) or 6 // k, k) for k in (3, 0, 2)]
    assert (coming[0].result(60), coming[2].result(60), begun) == (2, 3, [3, 0, 2])
    with pytest.raises(ZeroDivisionError):
        coming[1].result(60)
    assert 0 < threads.last_end <= time.monotonic()


def test_the_threads_end_with_what_they_belong_to() -> None:
    def alive() -> list[str]:
        return [each.name for each in threading.enumerate() if each.name == "decoding_6"]

    threads = DecodingThreads(7)
    assert not alive()
    threads.submit(int).result(60)
    assert alive()
    del threads
    assert not alive()
