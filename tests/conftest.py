"""Fixtures for every test: an own Prefect home and workspace, set before Prefect is imported."""

import os
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
from tests.support.run_cli import Plumbline, photo

if TYPE_CHECKING:
    from tests.support.s3_server import Bucket

START_TIMEOUT = 180  # seconds; a first start migrates the database, on a loaded machine
HOME = Path(tempfile.mkdtemp(prefix="plumbline-tests-"))
os.environ["PREFECT_HOME"] = str(HOME / "prefect")
os.environ["PREFECT_LOCAL_STORAGE_PATH"] = str(HOME / "prefect" / "storage")
os.environ.pop("PREFECT_API_URL", None)
os.environ["PREFECT_SERVER_API_PORT"] = "1"  # a dashboard that runs on this machine is not for tests
environment.prepare()


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """An empty workspace, the process's active one for the test."""
    before = os.environ.get(VARIABLE)
    yield Workspace.open(tmp_path / "workspace")
    if before is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = before


@pytest.fixture(scope="session")
def _server() -> Iterator["Bucket"]:
    from tests.support.s3_server import Bucket  # moto takes a second to import, and most tests don't need it

    server = Bucket()
    yield server
    server.close()


@pytest.fixture
def bucket(_server: "Bucket", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Bucket":
    """An empty bucket on a real S3 server, which this process and its children find; mirrors in tmp_path."""
    for name, value in _server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(MIRRORS, str(tmp_path / "mirrors"))
    monkeypatch.delenv(VARIABLE, raising=False)
    _server.reset()
    return _server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of a client of a real Prefect server that was started for this session."""
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
        _await(address, log)
        yield environment
    finally:
        process.terminate()
        process.wait(30)


def _await(address: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise TimeoutError(f"no Prefect server at {address} after {START_TIMEOUT} s:\n{log.read_text()}")


@pytest.fixture
def plumbline(server: dict[str, str], tmp_path: Path) -> Plumbline:
    return Plumbline(server, tmp_path / "workspace")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 2 x 60 pictures: photos/{across,down}/NNN.png."""
    for kind, name in enumerate(("across", "down")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(60):
            photo(kind, number).save(tmp_path / "photos" / name / f"{number:03}.png")
    return tmp_path / "photos"
