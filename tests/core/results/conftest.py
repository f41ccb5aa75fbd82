import pytest

from tasks.core.workspace import Workspace
from tests.core.results.lab import Lab


@pytest.fixture
def lab(workspace: Workspace) -> Lab:
    return Lab(workspace)
