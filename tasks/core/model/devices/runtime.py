"""Loading TensorFlow without the lines that its C++ side writes to the console."""

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Hold back what is written to standard error; if the block fails, show it after all.

    TF_CPP_MIN_LOG_LEVEL does not reach the messages that come before its logging is set up.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


VARIABLE = "TF_NUM_INTRAOP_THREADS"  # read by TensorFlow when it first calculates
_alone = threading.Lock()


def thread_count(cpus: int) -> int:
    """Threads that TensorFlow takes in this process.

    Args:
        cpus: CPUs that the process may use.
    """
    return int(os.environ.get(VARIABLE) or 0) or cpus


@contextmanager
def exclusive_training(threads: int) -> Iterator[None]:
    """Be the process's only training for the block: two would share TensorFlow's state.

    Args:
        threads: How many TensorFlow is to take, if it hasn't begun yet.
    """
    with _alone:
        os.environ[VARIABLE] = str(threads)
        yield
