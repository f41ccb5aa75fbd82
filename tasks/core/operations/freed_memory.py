"""Memory that this process has freed, and that the C library keeps for itself."""

import ctypes
import os
import sys

M_ARENA_MAX = -8  # mallopt(3)


def share_heaps() -> None:
    """Let threads allocate from as many heaps as there are CPUs, instead of eight times as many. glibc only.

    A heap stays about as large as it ever was, and what a thread freed serves only threads of the same heap.
    """
    if library := _glibc():
        library.mallopt(M_ARENA_MAX, os.cpu_count() or 1)


def give_back() -> None:
    """Return freed memory to the system: that of Arrow's tables and, with glibc, the rest. 5 to 20 ms."""
    if arrow := sys.modules.get("pyarrow"):
        arrow.default_memory_pool().release_unused()
    if library := _glibc():
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "malloc_trim") else None
