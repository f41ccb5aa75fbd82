"""The Prefect server of a command that a person starts: one that runs already, or a temporary one.

Prefect itself starts a temporary server only when a flow begins, and reads the server's code into this
process to do so. Here the same server is started first and comes up while Plumbline imports: with two cores
most of its start-up costs no time. Nothing of it outlives the process, not even one that is killed.
"""

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tasks.core.errors import ServerError
from tasks.core.storage import lock

ADDRESS = "PREFECT_API_URL"
START_TIMEOUT = 180.0  # seconds; a first start migrates the database, on a loaded machine
PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass
class TemporaryServer:
    """A server of our own that is coming up.

    Args:
        process: uvicorn with Prefect's application.
        log: What it writes.
        held: The lock on a database that has to be made first; freed when the server is up.
    """

    process: subprocess.Popen[bytes]
    log: IO[bytes]
    held: ExitStack

    def stop(self) -> None:
        self.held.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


_temporary: TemporaryServer | None = None


def start() -> str:
    """Choose the server and, if none runs, start one; returns at once.

    Returns:
        What was chosen, in words for a person.
    """
    global _temporary
    if given := os.environ.get(ADDRESS) or _of_profile():
        return f"with the Prefect server at {given}"
    if os.environ.get("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "").lower() in ("0", "false"):
        return "without a Prefect server of its own, as PREFECT_SERVER_ALLOW_EPHEMERAL_MODE says"
    if _answers(usual := _usual(), 0.5):
        os.environ[ADDRESS] = usual
        return f"shown in the dashboard at {usual.removesuffix('/api')}"
    first = not _database().exists()
    _temporary = _start()
    atexit.register(_temporary.stop)
    wait = "30 s, this first time" if first else "10 s"
    return f"starting a temporary Prefect server (some {wait}; `make dashboard` keeps one running)"


def server_address() -> str:
    """Address of the server that a command would use without starting one; empty if there is none."""
    given = os.environ.get(ADDRESS) or _of_profile()
    return given or (_usual() if _answers(_usual(), 0.5) else "")


def wait_until_ready() -> None:
    """Return once the server that `start` started answers; at once if it started none.

    Raises:
        ServerError: It ended, or does not answer in time.
    """
    if _temporary is None:
        return
    deadline = time.monotonic() + START_TIMEOUT
    while not _answers(os.environ[ADDRESS], 1):
        if _temporary.process.poll() is not None or time.monotonic() > deadline:
            raise _failure(_temporary)
        time.sleep(0.05)
    _temporary.held.close()


def _usual() -> str:
    """Where `prefect server start` and `make dashboard` listen on this machine."""
    return f"http://127.0.0.1:{os.environ.get('PREFECT_SERVER_API_PORT') or 4200}/api"


def _start() -> TemporaryServer:
    held = ExitStack()
    if not _database().exists():  # two migrations of one new database disturb each other
        held.enter_context(lock.exclusive(_home() / ".plumbline-first-start.lock"))
    port = _free_port()
    os.environ[ADDRESS] = f"http://127.0.0.1:{port}/api"
    log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on"],
        env=os.environ | {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1"},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        preexec_fn=die_with_parent,
        start_new_session=True,  # Ctrl-C is for us: the last states are still to be written
    )
    return TemporaryServer(process, log, held)


def die_with_parent() -> None:
    """Have the kernel send this process SIGTERM when its parent is gone; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _answers(address: str, seconds: float) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=seconds) as response:
            return bool(response.status == 200 and response.read() == b"true")
    except (OSError, ValueError):
        return False


def _failure(temporary: TemporaryServer) -> ServerError:
    code = temporary.process.poll()
    temporary.log.seek(0)
    said = temporary.log.read().decode(errors="replace").strip().splitlines()
    return ServerError(
        "Prefect's temporary server did not start",
        expected=f"an answer at {os.environ[ADDRESS]}/health within {START_TIMEOUT:.0f} s",
        found=f"it ended with code {code}" if code is not None else "no answer",
        done="no stage was run",
        todo="run `plumbline doctor`, or start a server by hand: make dashboard\n"
        + "\n".join(f"            {line}" for line in said[-12:]),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _home() -> Path:
    return Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()


def _database() -> Path:
    return _home() / "prefect.db"


def _of_profile() -> str:
    """The address in Prefect's active profile (`prefect profile`, `prefect config set`); empty if none."""
    try:
        profiles = tomllib.loads((_home() / "profiles.toml").read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError):
        return ""
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active", "")
    return str(profiles.get("profiles", {}).get(active, {}).get(ADDRESS, ""))
