"""Stop signals are deferred until a window of training steps has ended.

Handlers of Ctrl-C, SIGTERM (a worker's Cancel, a shutdown) and SIGALRM (by which Prefect times out a task in
the main thread) can run Python code at any bytecode. Deferring them while variables change leaves a training
whose state is consistent and can be saved.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

DEFERRED = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Deliver `DEFERRED` signals after the block, in the order of their arrival, to the previous handlers.

    Signals reach the main thread only; in other threads this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def record(number: int, _: FrameType | None) -> None:
        arrived.append(number)

    # A handler that C code installed shows as None and could not be restored, so its signal is not deferred.
    handlers = {
        number: signal.getsignal(number) for number in DEFERRED if signal.getsignal(number) is not None
    }
    try:
        for number in handlers:
            signal.signal(number, record)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for arrived_number in arrived:
            signal.raise_signal(arrived_number)
