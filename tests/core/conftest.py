"""Fixtures of the core's tests: small tensor caches, outputs without training, machines of one store."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace
from tests.support import striped_tensors
from tests.support.fake_outputs import FakeOutputs

if TYPE_CHECKING:
    from tests.support.s3_client import Machine
    from tests.support.s3_server import Bucket


@pytest.fixture
def tensors(workspace: Workspace) -> Callable[..., TensorCache]:
    """Makes a tensor cache of striped pictures in the test's workspace; see `striped_tensors.cache`."""
    return lambda **settings: striped_tensors.cache(workspace, **settings)


@pytest.fixture
def fake(workspace: Workspace) -> FakeOutputs:
    return FakeOutputs(workspace)


@pytest.fixture
def here(bucket: "Bucket", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Machine":
    from tests.support.s3_client import Machine

    return Machine(tmp_path / "here", monkeypatch)


@pytest.fixture
def there(bucket: "Bucket", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Machine":
    from tests.support.s3_client import Machine

    return Machine(tmp_path / "there", monkeypatch)
