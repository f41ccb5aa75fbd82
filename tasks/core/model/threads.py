"""How many threads TensorFlow calculates with: as long as it is the same number, the same sums come out.

A sum that is shared out among other threads is rounded elsewhere: with 1, 2 and 4 threads the same training
gives three different models. So the trials of a sweep all take the number of the process that began it, on
whatever machine and however many run side by side.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "TF_NUM_INTRAOP_THREADS"  # read by TensorFlow when it first calculates
_alone = threading.Lock()


def count(cpus: int) -> int:
    """Threads that TensorFlow takes in this process.

    Args:
        cpus: CPUs that the process may use.
    """
    return int(os.environ.get(VARIABLE) or 0) or cpus


@contextmanager
def alone(threads: int) -> Iterator[None]:
    """Be the process's only training for the block: two would share TensorFlow's state.

    Args:
        threads: How many TensorFlow is to take, if it hasn't begun yet.
    """
    with _alone:
        os.environ[VARIABLE] = str(threads)
        yield
