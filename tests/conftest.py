"""Fixtures for every test: an own Prefect home and workspace, set before Prefect is imported."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.core import environment
from tasks.core.workspace import MIRRORS, VARIABLE, Workspace

if TYPE_CHECKING:
    from tests.bucket import Bucket

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
    from tests.bucket import Bucket  # moto takes a second to import, and most tests don't need it

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
