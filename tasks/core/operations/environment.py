"""Environment variables that must be set before Prefect, NumPy and TensorFlow are imported.

They are defaults: what the user has set is kept. This module imports none of them.
"""

import logging
import os
import signal
import sys
import warnings

from tasks.core import __version__, process_memory
from tasks.core.errors import PlumblineError
from tasks.core.markup import printable
from tasks.core.model.devices import tf_config
from tasks.core.operations import argument_check, machine_errors

PREFECT = {
    # Prefect's server sends usage reports every ten minutes; offline that fails with a traceback, and it
    # races with our writes to SQLite ("database is locked").
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # The default of 20 s is too short for a first start, which migrates the database.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # Core code may log before a flow has begun.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # Records of the `plumbline` loggers are also sent to the run's log in the dashboard.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "plumbline",
}
CONSOLE = {
    # The console shows only Plumbline's own lines; those of Prefect are in the dashboard.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    # A lost server is noticed after 2 + 4 + 8 s instead of a minute; it is awaited several times at the end.
    "PREFECT_CLIENT_MAX_RETRIES": "3",
}
RAY = {
    # Ray sends usage reports by default.
    "RAY_USAGE_STATS_ENABLED": "0",
}
ARROW = {
    # Its own pool keeps what tables took: 30 to 50 MB of a run with 60,000 images.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
BLAS = {
    # After a product OpenBLAS' threads spin for some 0.05 s by default, in case another follows: 20 products
    # with 50 ms between them took 1.04 CPU-seconds, and take 0.07 with 2^16 cycles; 300 in a row the same.
    "OPENBLAS_THREAD_TIMEOUT": "16",
}
TENSORFLOW = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # Sums are computed in the same order, so the same seed gives the same bytes.
    "TF_DETERMINISTIC_OPS": "1",
    # No TensorFloat-32 on GPUs: it changes probabilities by up to 3e-4, so a published model would differ
    # from the trained one; on an H200 `fast` took 10.2 s in float32 without it and 10.7 s with it.
    "NVIDIA_TF32_OVERRIDE": "0",
    # The trainings of a sweep may share a GPU; by default the first would take all of its memory.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}


def prepare() -> None:
    """Set the defaults for a flow in any process, and the level of the `plumbline` loggers to INFO."""
    _default(PREFECT | RAY | ARROW | BLAS | TENSORFLOW)
    log = logging.getLogger("plumbline")
    log.setLevel(logging.INFO)
    # A worker imports Prefect before the flow, so Prefect has read its list of extra loggers without ours.
    # Its logger `prefect.extra` has the handlers for them; it has none where Prefect is imported later.
    if "plumbline" in os.environ["PREFECT_LOGGING_EXTRA_LOGGERS"].split(","):
        for handler in logging.getLogger("prefect.extra").handlers:
            if type(handler).__module__.startswith("prefect."):  # pytest lends it handlers for a test
                log.addHandler(handler)  # the same handler twice is once


def prepare_command() -> None:
    """Do as `prepare`, for a process that the user started: hide Prefect's console output, exit on SIGTERM.

    Without the handler, SIGTERM would leave Prefect's temporary server running.
    """
    prepare()
    _default(CONSOLE)
    process_memory.share_heaps()
    # matplotlib says so of pictures of hundreds of classes; they are drawn all the same.
    warnings.filterwarnings("ignore", message="constrained_layout not applied")
    # The report's pictures are SVG, whose text is drawn in the page's font.
    warnings.filterwarnings("ignore", message="Glyph .* missing from font")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def exit_on_interrupt() -> None:
    """Until the command itself handles Ctrl-C, let it end the process with one line and exit code 130.

    Imports take seconds; an interrupt among them would show a traceback of a library.
    """

    def stop(*_: object) -> None:
        print("stopped; nothing was started", flush=True)
        sys.exit(128 + signal.SIGINT)

    signal.signal(signal.SIGINT, stop)


def prepare_child() -> None:
    """Do as `prepare`, for a worker process: it exits cleanly on SIGTERM and when its parent ends."""
    from tasks.core.operations import prefect_server

    prepare()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    prefect_server.die_with_parent()


def open_command(command: str) -> None:
    """Prepare the process, print a first line, and start the Prefect server in the background.

    Args:
        command: The command that the user started, such as "train".
    """
    exit_on_interrupt()
    prepare_command()
    if error := argument_check.refusal(command, sys.argv):
        print(f"error: {printable(str(error))}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
    if tf_config.is_worker():
        print(
            f"plumbline {__version__}: {command}, together with the first process of {tf_config.VARIABLE}",
            flush=True,
        )
    elif not {"--help", "--dry-run"} & set(sys.argv):
        print(f"plumbline {__version__}: {command}, {_started_server()}", flush=True)


def _started_server() -> str:
    """Start or choose a server; the process ends with a message if there is none."""
    # Imported here: with urllib and ssl it takes 0.04 s, which commands without a flow do not need.
    from tasks.core.operations import prefect_server

    try:
        return prefect_server.start()
    except PlumblineError as error:
        sys.exit(f"error: {error}")
    except OSError as error:  # PREFECT_HOME is full, or may not be written
        if explained := machine_errors.explained(error):
            sys.exit(f"error: {explained}")
        raise


def _default(settings: dict[str, str]) -> None:
    for name, value in settings.items():
        os.environ.setdefault(name, value)
