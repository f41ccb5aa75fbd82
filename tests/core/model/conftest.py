"""Small tensor caches with something to learn in them."""

from collections.abc import Callable

import pytest

from tasks.core.handles import TensorCache
from tasks.core.workspace import Workspace
from tests.core.model import pictures


@pytest.fixture
def tensors(workspace: Workspace) -> Callable[..., TensorCache]:
    """Makes a tensor cache of striped pictures in the test's workspace; see `pictures.cache`."""
    return lambda **settings: pictures.cache(workspace, **settings)
