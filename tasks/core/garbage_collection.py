"""Python's garbage collection during imports, which make many objects and no garbage to speak of."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_frozen = False


@contextmanager
def paused(freeze: bool = False) -> Iterator[None]:
    """Collect no reference cycles in the block.

    Imports trigger collections of all objects: an eighth of the time of TensorFlow's import, a quarter of
    that of Prefect's server.

    Args:
        freeze: At the end, leave what exists out of all later collections (`gc.freeze`). That is for a
            command's process: in another it would keep garbage of the caller. Once a block has frozen, later
            blocks of the process do, too.
    """
    global _frozen
    _frozen |= freeze
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if _frozen:
            gc.freeze()
        if enabled:
            gc.enable()
