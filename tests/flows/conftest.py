"""A real Prefect server for the session, and runs of the commands as a person starts them."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.running import Plumbline, photo

PATIENCE = 180  # seconds; a first start migrates the database, on a loaded machine


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
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise TimeoutError(f"no Prefect server at {address} after {PATIENCE} s:\n{log.read_text()}")


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
