"""Work that threads do ahead: its order, and an iterator that nobody wants any more."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from ssl_isda.base.ahead import done_ahead


def test_results_come_in_order_and_no_more_items_are_taken_than_there_are_threads() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(9):
            taken.append(item)
            yield item

    done = done_ahead(lambda item: item * item, items(), threads=3)
    assert next(done) == 0 and taken == [0, 1, 2, 3]
    assert [*done] == [1, 4, 9, 16, 25, 36, 49, 64]


def test_one_of_its_own_threads_may_be_the_last_to_let_go() -> None:
    """An error that a thread keeps holds the frames of who asked, and with them the iterator."""
    held: list[Iterator[int]] = []
    go, gone, errors = threading.Event(), threading.Event(), []

    def work(item: int) -> int:
        if item == 1:
            go.wait(10)
            try:
                held.pop().close()  # type: ignore[attr-defined]
            except RuntimeError as error:
                errors.append(error)
            gone.set()
        return item

    held.append(done_ahead(work, range(9), threads=2))
    assert next(held[0]) == 0
    go.set()
    assert gone.wait(10) and not errors
