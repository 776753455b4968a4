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
    """``work`` of each item, in order, for as many items ahead as there are threads."""
    with ThreadPoolExecutor(threads) as pool:
        coming: deque[Future[Done]] = deque()
        for item in items:
            coming.append(pool.submit(work, item))
            if len(coming) > threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
