"""Work that threads do ahead of its use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")
THREADS = 4


def done_ahead(
    work: Callable[[Item], Done], items: Iterable[Item], threads: int = THREADS
) -> Iterator[Done]:
    """``work`` of each item, in order, for as many items ahead as there are threads.

    Who lets go of the iterator before its end leaves no work waiting. Work that has begun is not waited
    for: the one who lets go may be one of these threads, as the last to know of an error.
    """
    pool = ThreadPoolExecutor(threads)
    try:
        coming: deque[Future[Done]] = deque()
        for item in items:
            coming.append(pool.submit(work, item))
            if len(coming) > threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
