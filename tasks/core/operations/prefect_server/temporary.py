"""The Prefect server of a command that the user starts: a running one, or a temporary one.

Prefect itself starts a temporary server only when a flow begins, and imports the server's code into this
process. Here the same server is started first, in its own process, and starts while Plumbline is imported.
With two cores most of its start-up costs no time. The server ends with this process, even if it is killed.
"""

import atexit
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tasks.core.addresses import without_secrets
from tasks.core.errors import ServerError
from tasks.core.operations.prefect_server import check

ADDRESS = "PREFECT_API_URL"
DATABASE = "prefect.db"
START_TIMEOUT = 180.0  # seconds; a first start migrates the database, which is slow on a loaded machine
NEEDED = 20 << 20  # bytes of Prefect's database after its first migration, and its journal
SETTINGS = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    # A command hides Prefect's lines; those of the server go to its log, and say why it ended.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR",
}
RAISED = re.compile(r"^(?:\w+\.)*\w+(?:Error|Exception): .*", re.MULTILINE)  # the last line of a traceback
PR_SET_PDEATHSIG = 1  # prctl(2)
# No types of blocks for the dashboard: 0.2 CPU-seconds, on a new database 1.0. A server that stays registers
# them when it starts, and a flow that saves a block registers its type. Without the second, Prefect loads all
# installed collections, 0.3, and notes that the types are registered: a server that stays would have none.
DEFAULTS = {
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",
    "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "0",
    # A library of Prefect's services, py-key-value, checks the types of its own calls: 0.2 CPU-seconds.
    "PY_KEY_VALUE_DISABLE_BEARTYPE": "1",
}
SERVER = Path(__file__).with_name("server_process.py")


@dataclass
class TemporaryServer:
    """A temporary server that was started by this process.

    Args:
        process: uvicorn with Prefect's application.
        log: Its output.
    """

    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def stop(self) -> None:
        """Terminate the server; kill it after 10 seconds."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


_temporary: TemporaryServer | None = None


def start() -> str:
    """Choose a server, and start a temporary one if none runs; does not wait until it answers.

    Returns:
        The choice, as text for the user.

    Raises:
        ServerError: The server that the user named does not answer.
    """
    global _temporary
    if address := os.environ.get(ADDRESS) or _profile_address():
        check.check(address, _default_address())
        return f"with the Prefect server at {without_secrets(address)}"
    if os.environ.get("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "").lower() in ("0", "false"):
        return "without a Prefect server of its own, as PREFECT_SERVER_ALLOW_EPHEMERAL_MODE says"
    if _answers(default := _default_address(), 0.5):
        os.environ[ADDRESS] = default
        return f"shown in the dashboard at {default.removesuffix('/api')}"
    wait = "5 s" if (_home() / DATABASE).exists() else "7 s, this first time"
    _temporary = _start(_free_port())
    atexit.register(stop)
    return f"starting a temporary Prefect server (some {wait}; `make dashboard` keeps one running)"


def server_address() -> str:
    """Return the address of the server that a command would use without starting one; empty if none."""
    configured = os.environ.get(ADDRESS) or _profile_address()
    return configured or (_default_address() if _answers(_default_address(), 0.5) else "")


def is_temporary() -> bool:
    """Whether this process has started a temporary server."""
    return _temporary is not None


def stop() -> None:
    """Stop the temporary server, if there is one."""
    if _temporary is not None:
        _temporary.stop()


def wait_until_ready(*meanwhile: Callable[[], object]) -> None:
    """Wait until the server that `start` started answers; return immediately if it started none.

    Args:
        meanwhile: Are called in turn as long as the server does not answer: its start leaves one of two
            cores idle.

    Raises:
        ServerError: It ended, or did not answer within `START_TIMEOUT` seconds.
    """
    if _temporary is None:
        return
    for work in meanwhile:
        if not _answers(os.environ[ADDRESS], 1):
            work()
    if not _ready(_temporary):
        raise _failure(_temporary)


def _ready(temporary: TemporaryServer) -> bool:
    """Wait until the server answers; False if it ended or the time is over."""
    deadline = time.monotonic() + START_TIMEOUT
    while not _answers(os.environ[ADDRESS], 1):
        if temporary.process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _default_address() -> str:
    """Return the address at which `prefect server start` and `make dashboard` listen on this machine."""
    return f"http://127.0.0.1:{os.environ.get('PREFECT_SERVER_API_PORT') or 4200}/api"


def _start(port: int) -> TemporaryServer:
    os.environ[ADDRESS] = f"http://127.0.0.1:{port}/api"
    log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the server runs
    # -P: modules of the script's folder are not to be found by their bare names
    command = [sys.executable, "-P", str(SERVER), "--factory", "prefect.server.api.server:create_app"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on"],
        env=DEFAULTS | os.environ | SETTINGS,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        preexec_fn=die_with_parent,
        start_new_session=True,  # Ctrl-C must not reach it before this process has sent its last states
    )
    return TemporaryServer(process, log)


def die_with_parent() -> None:
    """Tell the kernel to send this process SIGTERM when its parent ends; works on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _answers(address: str, seconds: float) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=seconds) as response:
            return bool(response.status == 200 and response.read() == b"true")
    except (OSError, ValueError):
        return False


def _failure(temporary: TemporaryServer) -> ServerError:
    code, full = temporary.process.poll(), _full_disk()
    temporary.log.seek(0)
    output = temporary.log.read().decode(errors="replace").strip()
    reasons = RAISED.findall(output)
    ended = "no answer" if code is None else f"it ended with code {code}"
    lines = [] if full or reasons else output.splitlines()[-12:]
    return ServerError(
        "Prefect's temporary server did not start",
        expected=f"an answer at {os.environ[ADDRESS]}/health within {START_TIMEOUT:.0f} s",
        found=full or ": ".join([ended, *reasons[-1:]]),
        done="no stage was run",
        todo="\n".join(
            [
                "run `plumbline doctor`, or start a server by hand: make dashboard",
                *(f"            {line}" for line in lines),
            ]
        ),
    )


def _full_disk() -> str:
    """That the disk of PREFECT_HOME is full, if it is: the server itself ends without a word then."""
    free = shutil.disk_usage(_home()).free
    return f"{free / 1e6:.1f} MB are free for PREFECT_HOME ({_home()})" if free < NEEDED else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _home() -> Path:
    return Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()


def _profile_address() -> str:
    """Return the address in Prefect's active profile (`prefect profile`, `prefect config set`), or ""."""
    try:
        profiles = tomllib.loads((_home() / "profiles.toml").read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError):
        return ""
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active", "")
    return str(profiles.get("profiles", {}).get(active, {}).get(ADDRESS, ""))
