"""File locks between processes. The kernel releases a lock when its holder dies, even by kill -9."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_WRITING = (errno.EACCES, errno.EPERM, errno.EROFS)


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
def opened(path: Path, to_write: bool = False) -> Iterator[int]:
    """Yield the descriptor of a lock file, not locked. Closing it at the end releases the lock, if any.

    A user who may not write to it, or on a read-only file system, locks it all the same: reading is enough.

    Args:
        path: The lock file; it is made if it is not there.
        to_write: It is also written to, so that reading is not enough.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # the umask decides who may write
    except OSError as error:
        if to_write or error.errno not in NO_WRITING or not path.exists():
            raise
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
