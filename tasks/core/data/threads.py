"""An iterator that works in a thread of its own, a few results ahead of the one who takes them."""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

POLL = 0.1  # seconds after which a thread that nobody takes from any more sees it


class _End:
    """What the thread leaves at the end: the error that ended it, or None."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetch(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """The items, made in another thread; at most `depth` wait.

    Raises:
        Whatever making them raised, in its place.
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, waiting, stopped), daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        thread.join()


def _fill(items: Iterable[Item], waiting: "queue.Queue[Item | _End]", stopped: threading.Event) -> None:
    try:
        for item in items:
            if not _put(item, waiting, stopped):
                return
    except BaseException as error:
        _put(_End(error), waiting, stopped)
    else:
        _put(_End(), waiting, stopped)


def _put(item: Item | _End, waiting: "queue.Queue[Item | _End]", stopped: threading.Event) -> bool:
    """Whether somebody still wants it."""
    while not stopped.is_set():
        try:
            waiting.put(item, timeout=POLL)
        except queue.Full:
            continue
        return True
    return False


Task = TypeVar("Task")
Result = TypeVar("Result")

# Bytes of an encoded image from which threads pay. Decoding 0.9 kB takes 13 us, and two threads that hand
# the interpreter to each other so often are half as fast as one.
MIN_THREADED_BYTES = 1 << 16
AHEAD = 4  # tasks a thread that are under way or done and not yet taken; bounds the memory


def map_threaded(
    work: Callable[[Task], Result], tasks: Iterable[Task], *, size: float, workers: int | None = None
) -> Iterator[Result]:
    """The results of `work` in the order of `tasks`, made by threads if the tasks are large.

    Args:
        work: Does one task.
        tasks: Taken one by one, not far ahead of the results.
        size: Bytes of a task, on average.
        workers: Number of threads; the number of CPUs if None.
    """
    if size < MIN_THREADED_BYTES:
        yield from map(work, tasks)
        return
    count = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(count) as pool:
        waiting: deque[Future[Result]] = deque()
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) > AHEAD * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
