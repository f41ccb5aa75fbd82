"""Settings of the process that must stand before Prefect and TensorFlow are imported.

Each is a default: what the user has set stays. This module imports nothing heavy.
"""

import logging
import os
import signal
import sys

from tasks.core import __version__
from tasks.core.model.devices import tf_config
from tasks.core.operations import prefect_server

PREFECT = {
    # Prefect's server sends usage reports every ten minutes; offline that fails with a traceback, and it
    # races with our writes to SQLite ("database is locked").
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # The default of 20 s is too short for a first start, which migrates the database.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # Core code may speak before a flow has begun.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # Lines of the `plumbline` loggers reach the run's log in the dashboard.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "plumbline",
}
CONSOLE = {
    # People read Plumbline's own lines; all of Prefect's stay in the dashboard.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}
RAY = {
    # Reports of usage to its makers.
    "RAY_USAGE_STATS_ENABLED": "0",
}
TENSORFLOW = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # The same sums in the same order: same seed, same bytes.
    "TF_DETERMINISTIC_OPS": "1",
    # On GPUs float32 is float32: TensorFloat-32 moves probabilities by up to 3e-4, so a published model would
    # not be what was trained; on an H200 `fast` took 10.2 s in float32 without it and 10.7 s with it.
    "NVIDIA_TF32_OVERRIDE": "0",
    # Several trainings share a GPU (a sweep's); by default the first would take all of its memory.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}


def prepare() -> None:
    """Set Prefect's and TensorFlow's defaults for flows, wherever they run, and let our loggers speak."""
    _default(PREFECT | RAY | TENSORFLOW)
    logging.getLogger("plumbline").setLevel(logging.INFO)


def prepare_command() -> None:
    """As `prepare`, for a process that a person started: a quiet console, a clean end on SIGTERM.

    Without the handler, SIGTERM would leave Prefect's temporary server running.
    """
    prepare()
    _default(CONSOLE)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def prepare_child() -> None:
    """As `prepare`, for a process that works for another: SIGTERM and its parent's end end it cleanly."""
    prepare()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    prefect_server.die_with_parent()


def open_command(command: str) -> None:
    """Prepare, show at once that something happens, and let the Prefect server come up meanwhile.

    Args:
        command: What the person started, such as "train".
    """
    prepare_command()
    if tf_config.is_worker():
        print(
            f"plumbline {__version__}: {command}, along with the first process of {tf_config.VARIABLE}",
            flush=True,
        )
    elif not {"--help", "--dry-run"} & set(sys.argv):
        print(f"plumbline {__version__}: {command}, {prefect_server.start()}", flush=True)


def _default(settings: dict[str, str]) -> None:
    for name, value in settings.items():
        os.environ.setdefault(name, value)
