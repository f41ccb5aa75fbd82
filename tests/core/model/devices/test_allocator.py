"""Which trainings take TensorFlow's memory from the C library."""

import os

import numpy as np
import pytest

from tasks.core.config import RecipeName
from tasks.core.model.architectures import build
from tasks.core.model.devices import allocator
from tasks.core.recipes import RECIPES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "side", "is_small"),
    [
        (RecipeName.flash, 32, True),
        (RecipeName.fast, 32, True),
        (RecipeName.good, 32, False),
        (RecipeName.best, 32, False),
        (RecipeName.fast, 224, False),
        (RecipeName.textbook, 32, False),
    ],
)
def test_small_maps_are_returned(
    name: RecipeName, side: int, is_small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A choice of the user's is kept."""
    monkeypatch.setenv(allocator.VARIABLE, "0")
    largest = build.largest_map(RECIPES[name], np.zeros((1, side, side, 3), np.uint8))
    allocator.return_memory(largest)
    assert os.environ[allocator.VARIABLE] == "0"
    monkeypatch.delenv(allocator.VARIABLE)
    allocator.return_memory(largest)
    assert (os.environ.get(allocator.VARIABLE) == "1") is is_small
