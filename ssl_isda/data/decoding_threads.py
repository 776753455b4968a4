"""Threads that decode images, and that a process does not wait for when it ends.

A read from a disk that does not answer cannot be stopped. The interpreter waits for the threads of
``concurrent.futures`` before it ends, so that a process would tell that its disk is gone and then hang.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

LAST_SECONDS = 1.0
"""That what the threads are at is waited for at the end: far more than a disk takes that answers."""
Result = TypeVar("Result")


class DecodingThreads:
    """Calls functions in the order in which they come, ``count`` at a time.

    The threads begin with the first function, and end with this object or with the process.
    """

    def __init__(self, count: int) -> None:
        self._queue = _Queue()
        self._count = count
        self._has_begun = False

    @property
    def last_end(self) -> float:
        """When a function ended last, by ``time.monotonic``; 0 before the first one."""
        return self._queue.last_end

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """What the function returns or raises, present or to come."""
        if not self._has_begun:
            self._begin()
        to_come: Future[Result] = Future()
        self._queue.calls.put((to_come, partial(function, *arguments)))
        return to_come

    def _begin(self) -> None:
        self._has_begun = True
        threads = [
            threading.Thread(target=_work, args=(self._queue,), name=f"decoding_{k}", daemon=True)
            for k in range(self._count)
        ]
        for thread in threads:
            thread.start()
        weakref.finalize(self, _end, self._queue, threads)


class _Queue:
    """What the threads share; they know nothing of the object that they end with."""

    def __init__(self) -> None:
        self.calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self.last_end = 0.0


def _work(queue: _Queue) -> None:
    while (call := queue.calls.get()) is not None:
        to_come, function = call
        if to_come.set_running_or_notify_cancel():
            try:
                result = function()
            except BaseException as error:
                to_come.set_exception(error)
            else:
                to_come.set_result(result)
                del result
            queue.last_end = time.monotonic()
        del call, to_come, function  # the thread is to keep nothing alive while it waits


def _end(queue: _Queue, threads: Sequence[threading.Thread]) -> None:
    """What has not begun is left out."""
    try:
        while True:
            queue.calls.get_nowait()
    except Empty:
        pass
    for _ in threads:
        queue.calls.put(None)
    latest = time.monotonic() + LAST_SECONDS
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(max(0.0, latest - time.monotonic()))
