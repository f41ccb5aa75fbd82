"""Fixtures of all tests. Prefect gets a home of its own here, before any test imports it."""

import atexit
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.core.operations import environment
from tasks.core.workspace import MIRRORS, VARIABLE, Workspace
from tests.support.run_cli import Plumbline, write_photos
from tests.support.servers.s3_server import Bucket

if TYPE_CHECKING:
    from tests.support.warm_commands import WarmPlumbline

# A shell that starts the tests in the background has them, and all that they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
START_TIMEOUT = 180  # seconds; a first start migrates the database, on a loaded machine
HOME = Path(tempfile.mkdtemp(prefix="plumbline-tests-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ["PREFECT_HOME"] = str(HOME / "prefect")
os.environ["PREFECT_LOCAL_STORAGE_PATH"] = str(HOME / "prefect" / "storage")
os.environ.pop("PREFECT_API_URL", None)
os.environ["PREFECT_SERVER_API_PORT"] = "1"  # a dashboard of this machine must not receive the tests' runs
environment.prepare()


def pytest_configure(config: pytest.Config) -> None:
    """Leave out the stress tests unless `-m` names them; a default in addopts gives way to any `-m`."""
    asked = config.option.markexpr
    if "stress" not in asked:
        config.option.markexpr = f"({asked}) and not stress" if asked else "not stress"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files in which all tests are slow, or stress tests, if none of these is selected.

    pytest imports a file before it deselects its tests, and many of these files import TensorFlow (4 s).
    """
    left_out = [mark for mark in ("slow", "stress") if f"not {mark}" in config.option.markexpr]
    if not left_out or collection_path.suffix != ".py":
        return None
    text = collection_path.read_text(encoding="utf-8")
    line = rf"^pytestmark = (?:\[\s*)?pytest\.mark\.({'|'.join(left_out)})\b"
    return re.search(line, text, re.MULTILINE) is not None or None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse a quick run whose files import TensorFlow: each process of it would wait 3 to 6 s."""
    is_quick = "not slow" in session.config.option.markexpr
    if is_quick and "tensorflow" in sys.modules:
        raise pytest.UsageError("a file with quick tests imports TensorFlow: mark the file as slow")


@pytest.fixture(autouse=True)
def active_workspace_of_the_test_only() -> Iterator[None]:
    """After a test the active workspace is the one before it: commands make what they open active."""
    before = os.environ.get(VARIABLE)
    yield
    if before is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = before


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace; it is the active one of this process during the test."""
    return Workspace.open(tmp_path / "workspace")


@pytest.fixture(scope="session")
def _server() -> Iterator[Bucket]:
    server = Bucket()
    yield server
    server.close()


@pytest.fixture
def bucket(_server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket on a real S3 server.

    The environment leads this process and its children to the server. Mirrors lie in `tmp_path`.
    """
    for name, value in _server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(MIRRORS, str(tmp_path / "mirrors"))
    monkeypatch.delenv(VARIABLE, raising=False)
    _server.reset()
    return _server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment variables for clients of a real Prefect server, which is started once per session."""
    home = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api"
    environment = os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "storage"),
        "PREFECT_API_URL": address,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    log = home / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--no-ui"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_healthy(address, log)
        yield environment
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_healthy(address: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise TimeoutError(
        f"no Prefect server at {address} after {START_TIMEOUT} s:\n{log.read_text(encoding='utf-8')}"
    )


@pytest.fixture
def plumbline(server: dict[str, str], tmp_path: Path) -> Plumbline:
    """Starts the commands in processes of their own, in an empty workspace."""
    return Plumbline(server, tmp_path / "workspace")


@pytest.fixture(scope="session")
def warm_commands(server: dict[str, str]) -> Iterator["WarmPlumbline"]:
    """The process whose forks run commands; `at` gives it a workspace."""
    from tests.support.warm_commands import warm

    with warm(server) as started:
        yield started


@pytest.fixture
def warm_plumbline(warm_commands: "WarmPlumbline", tmp_path: Path) -> "WarmPlumbline":
    """As `plumbline`, in forks of one process that has the libraries: half the CPU-seconds of a command."""
    return warm_commands.at(tmp_path / "workspace")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 2 classes x 60 images: photos/{across,down}/NNN.png."""
    return write_photos(tmp_path / "photos")
