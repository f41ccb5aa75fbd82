"""TensorFlow as a process-wide resource: loading it quietly, its threads, one training at a time."""

import linecache
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from tasks.core import process_memory
from tasks.core.model.devices import gpu

# Keras imports these where they are installed, for plots, notebooks and wrappers that nothing here uses:
# 1.9 of 4.5 CPU-seconds and 150 MB.
OPTIONAL = frozenset({"IPython", "matplotlib", "sklearn"})


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Load Keras and TensorFlow, and suppress standard error in the block; a failing block prints it.

    TensorFlow's C++ code writes messages before its logging is set up, and TF_CPP_MIN_LOG_LEVEL does not
    suppress those.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            _import_keras()
            yield
        except BaseException:
            captured.seek(0)
            os.write(stderr, captured.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


class _NotFound(MetaPathFinder):
    """Packages that one thread does not find, nor modules of them; others may import them meanwhile."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names, self.thread = names, threading.get_ident()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self.names and threading.get_ident() == self.thread:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


def _import_keras() -> None:
    """Import Keras, and TensorFlow with it, without what they only look for."""
    if "keras" in sys.modules:
        return
    first = "tensorflow" not in sys.modules
    finder = _NotFound(OPTIONAL)
    sys.meta_path.insert(0, finder)
    try:
        with process_memory.paused_collections():
            import keras  # noqa: F401
    finally:
        sys.meta_path.remove(finder)
    if first and not gpu.nvidia_gpu_count():
        _let_threads_sleep()
    linecache.clearcache()  # TensorFlow looks up source lines of its own: 75 files, 8 MB


def _let_threads_sleep() -> None:
    """Have TensorFlow's threads sleep when they have nothing to do, as long as it has calculated nothing.

    Otherwise each looks for work for a while first. Trainings take 4 % fewer CPU-seconds on two cores, and as
    long as before, to the same bytes (docs/experiments.md).
    """
    from tensorflow.compat import v1

    config = v1.ConfigProto(experimental=v1.ConfigProto.Experimental(disable_thread_spinning=True))
    v1.disable_eager_execution()  # a configuration is taken only by what enables it again
    v1.enable_eager_execution(config)


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
