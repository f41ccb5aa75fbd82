"""What this process does about its memory: garbage collections during imports, heaps, and freed memory."""

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -8, -3, -1  # mallopt(3)
LARGEST_KEPT = 32 << 20  # bytes; glibc takes no more

_frozen = False


@contextmanager
def paused_collections(freeze: bool = False) -> Iterator[None]:
    """Collect no reference cycles in the block. Imports make many objects and no garbage to speak of.

    They trigger collections of all objects: an eighth of the time of TensorFlow's import, a quarter of that
    of Prefect's server.

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


def share_heaps() -> None:
    """Let threads allocate from as many heaps as there are CPUs, instead of eight times as many. glibc only.

    A heap stays about as large as it ever was, and what a thread freed serves only threads of the same heap.
    """
    if library := _glibc():
        library.mallopt(M_ARENA_MAX, os.cpu_count() or 1)


def keep_until_given_back() -> None:
    """Let glibc keep blocks up to 32 MB that are freed, for code that takes the same ones again and again."""
    if library := _glibc():
        library.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        library.mallopt(M_TRIM_THRESHOLD, 2 * LARGEST_KEPT)


def give_back() -> None:
    """Return freed memory to the system: that of Arrow's tables and, with glibc, the rest. 5 to 20 ms."""
    if arrow := sys.modules.get("pyarrow"):
        arrow.default_memory_pool().release_unused()
    if library := _glibc():
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "malloc_trim") else None
