from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.core.workspace import Workspace
from tests.core.results.lab import Lab

if TYPE_CHECKING:
    from tests.bucket import Bucket
    from tests.core.results.machine import Machine


@pytest.fixture
def lab(workspace: Workspace) -> Lab:
    return Lab(workspace)


@pytest.fixture
def here(bucket: "Bucket", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Machine":
    from tests.core.results.machine import Machine

    return Machine(tmp_path / "here", monkeypatch)


@pytest.fixture
def there(bucket: "Bucket", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Machine":
    from tests.core.results.machine import Machine

    return Machine(tmp_path / "there", monkeypatch)
