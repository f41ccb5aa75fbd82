"""An iterator that works in a thread of its own, a few results ahead of the one who takes them."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

POLL = 0.1  # seconds after which a thread that nobody takes from any more sees it


class _End:
    """What the thread leaves at the end: the error that ended it, or None."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
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
