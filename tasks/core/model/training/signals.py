"""Requests to stop, heard between two windows of training instead of in the middle of one.

Ctrl-C, SIGTERM (a worker's Cancel, a shutdown) and SIGALRM (by which Prefect times a task out in the main
thread) run Python code at any bytecode. Held back while variables change, they find a training that
can be written down whole.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Deliver `HELD` signals after the block, to the handlers that were there before, in their order.

    Signals reach the main thread only; in other threads this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        arrived.append(number)

    # A handler that C code installed shows as None and could not be put back: it is left alone.
    before = {number: signal.getsignal(number) for number in HELD if signal.getsignal(number) is not None}
    try:
        for number in before:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in arrived:
            signal.raise_signal(one)
