"""Fixtures of the core's tests: small tensor caches, outputs of stages, two machines with one workspace."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace
from tests.support import striped_tensors
from tests.support.fake_outputs import FakeOutputs
from tests.support.servers.s3_server import Bucket

if TYPE_CHECKING:
    from tests.support.servers.s3_client import Machine


@pytest.fixture
def tensors(workspace: Workspace) -> Callable[..., TensorCache]:
    """Writes a tensor cache of striped images into the workspace; see `striped_tensors.cache`."""
    return lambda **settings: striped_tensors.cache(workspace, **settings)


@pytest.fixture
def fake(workspace: Workspace) -> FakeOutputs:
    """Writes outputs of stages into the workspace without training a model."""
    return FakeOutputs(workspace)


@pytest.fixture
def machine(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Machine":
    """A machine whose workspace is in the bucket."""
    from tests.support.servers.s3_client import Machine

    return Machine(tmp_path / "machine", monkeypatch)


@pytest.fixture
def other_machine(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Machine":
    """Another machine with the same workspace, and a mirror of its own."""
    from tests.support.servers.s3_client import Machine

    return Machine(tmp_path / "other_machine", monkeypatch)
