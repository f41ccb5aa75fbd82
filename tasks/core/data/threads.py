"""Background threads: an iterator that prefetches, and a threaded `map` that keeps the order."""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

POLL = 0.1  # seconds between a producer's checks whether its consumer has stopped


class _End:
    """The last entry of the queue: the error that ended the thread, or None."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetch(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """Iterate over items that another thread produces ahead of time.

    Args:
        items: Consumed in the other thread.
        depth: Most items that wait to be taken.

    Yields:
        The items, in their order.

    Raises:
        Exception: Whatever `items` raised, after the items before it.
    """
    results: queue.Queue[Item | _End] = queue.Queue(depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, results, stopped), daemon=True)
    thread.start()
    try:
        while not isinstance(item := results.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        thread.join()


def _fill(items: Iterable[Item], results: "queue.Queue[Item | _End]", stopped: threading.Event) -> None:
    try:
        for item in items:
            if not _put(item, results, stopped):
                return
    except BaseException as error:
        _put(_End(error), results, stopped)
    else:
        _put(_End(), results, stopped)


def _put(item: Item | _End, results: "queue.Queue[Item | _End]", stopped: threading.Event) -> bool:
    """Put an item into the queue. Returns False if the consumer has stopped."""
    while not stopped.is_set():
        try:
            results.put(item, timeout=POLL)
        except queue.Full:
            continue
        return True
    return False


Task = TypeVar("Task")
Result = TypeVar("Result")

# Bytes of an encoded image from which threads are faster. Decoding 0.9 kB takes 13 us, and two threads that
# switch the interpreter lock that often are half as fast as one.
MIN_THREADED_BYTES = 1 << 16
MAX_PENDING = 4  # tasks per thread, submitted and not yet taken; bounds the memory


def map_threaded(
    work: Callable[[Task], Result], tasks: Iterable[Task], *, size: float, workers: int | None = None
) -> Iterator[Result]:
    """Apply `work` to every task, in threads if the tasks are large.

    Args:
        work: Does one task.
        tasks: Taken one by one, at most `MAX_PENDING` per thread ahead of the results.
        size: Bytes of a task, on average.
        workers: Number of threads; None for the number of CPUs.

    Yields:
        The results, in the order of `tasks`.
    """
    if size < MIN_THREADED_BYTES:
        yield from map(work, tasks)
        return
    thread_count = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(thread_count) as pool:
        pending: deque[Future[Result]] = deque()
        for task in tasks:
            pending.append(pool.submit(work, task))
            if len(pending) > MAX_PENDING * thread_count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
