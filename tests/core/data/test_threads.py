import threading
from collections.abc import Iterator

import pytest

from tasks.core.data import threads


def test_prefetch_keeps_the_order_and_the_depth() -> None:
    produced = []

    def numbers() -> Iterator[int]:
        for number in range(50):
            produced.append(number)
            yield number

    for number in threads.prefetch(numbers(), depth=3):
        assert produced[-1] <= number + 5  # three in the queue, one waits to be put, one is being produced
    assert produced == list(range(50))


def test_prefetch_error_is_raised_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    items = threads.prefetch(broken(), depth=2)
    assert next(items) == 1
    with pytest.raises(OSError, match="gone"):
        next(items)


def test_prefetch_closed_iterator_ends_the_thread() -> None:
    before = threading.active_count()
    items = threads.prefetch(iter(range(10**9)), depth=1)
    next(items)
    items.close()
    assert threading.active_count() == before
