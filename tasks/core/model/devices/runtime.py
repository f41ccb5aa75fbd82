"""TensorFlow as a process-wide resource: loading it quietly, its threads, one training at a time."""

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Suppress standard error in the block; if the block fails, print what was written.

    TensorFlow's C++ code writes messages before its logging is set up, and TF_CPP_MIN_LOG_LEVEL does not
    suppress those.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except BaseException:
            captured.seek(0)
            os.write(stderr, captured.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


VARIABLE = "TF_NUM_INTRAOP_THREADS"  # TensorFlow reads it at its first calculation
_training_lock = threading.Lock()


def thread_count(cpus: int) -> int:
    """Number of threads that TensorFlow uses in this process.

    Args:
        cpus: Number of CPUs that the process may use; an environment variable takes precedence.
    """
    return int(os.environ.get(VARIABLE) or 0) or cpus


def threads_here() -> int:
    """Number of threads that TensorFlow uses in this process if nothing else is asked for."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux: TensorFlow counts these CPUs, too
    return thread_count(len(affinity(0)) if affinity else os.cpu_count() or 1)


@contextmanager
def exclusive_training(threads: int) -> Iterator[None]:
    """Make the block the only training of this process, since two would share TensorFlow's state.

    Args:
        threads: Number of threads for TensorFlow; it has no effect once TensorFlow has calculated anything.
    """
    with _training_lock:
        os.environ[VARIABLE] = str(threads)
        yield
