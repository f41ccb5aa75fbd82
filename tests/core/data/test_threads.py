import threading
from collections.abc import Iterator

import pytest

from tasks.core.data import threads


def test_items_come_in_order_and_no_further_ahead_than_asked() -> None:
    made = []

    def numbers() -> Iterator[int]:
        for number in range(50):
            made.append(number)
            yield number

    for number in threads.prefetch(numbers(), depth=3):
        assert made[-1] <= number + 5  # three wait, one is in its hand, one is being made
    assert made == list(range(50))


def test_an_error_comes_in_its_place() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    items = threads.prefetch(broken(), depth=2)
    assert next(items) == 1
    with pytest.raises(OSError, match="gone"):
        next(items)


def test_the_thread_ends_when_nobody_takes_any_more() -> None:
    before = threading.active_count()
    items = threads.prefetch(iter(range(10**9)), depth=1)
    next(items)
    items.close()
    assert threading.active_count() == before
