"""A Prefect worker of the pool "plumbline", in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.run_cli import Plumbline


@contextmanager
def worker(plumbline: Plumbline) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that asks the session's server for runs each 2 s; it is stopped in the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "plumbline"],
        env=plumbline.environment | {"PREFECT_WORKER_QUERY_SECONDS": "2"},
        cwd=plumbline.workspace.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)
