"""Fixtures for every test: an own Prefect home and workspace, set before Prefect is imported."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.core import environment
from tasks.core.workspace import VARIABLE, Workspace

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
