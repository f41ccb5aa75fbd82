"""Threads for work that leaves the interpreter for long enough, and none for work that doesn't."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

# Bytes of an encoded image from which threads pay. Decoding 0.9 kB takes 13 us, and two threads that hand
# the interpreter to each other so often are half as fast as one.
WORTH_IT = 1 << 16
AHEAD = 4  # tasks a thread that are under way or done and not yet taken; bounds the memory


def each(
    work: Callable[[Task], Result], tasks: Iterable[Task], *, size: float, workers: int | None = None
) -> Iterator[Result]:
    """The results of `work` in the order of `tasks`, made by threads if the tasks are large.

    Args:
        work: Does one task.
        tasks: Taken one by one, not far ahead of the results.
        size: Bytes of a task, on average.
        workers: Number of threads; the number of CPUs if None.
    """
    if size < WORTH_IT:
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
