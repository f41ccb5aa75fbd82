"""File locks between processes. The kernel releases a lock when its holder dies, even by kill -9."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the lock file `path` during the block; wait while another process holds it.

    The file is not removed afterwards: if it were, two processes could hold the lock, one on the old inode
    and one on the new.
    """
    with opened(path) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Yield the descriptor of a lock file, not locked. Closing it at the end releases the lock, if any.

    A user who may not write to another user's lock file locks it all the same: reading is enough.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # the umask decides who may write
    except PermissionError:
        descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock an open lock file without waiting. Returns False if another process holds the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait(descriptor: int) -> None:
    """Lock an open lock file; wait while another process holds the lock."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
