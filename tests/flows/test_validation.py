"""What a run refuses before anything starts."""

from pathlib import Path

import pytest

from flows.validation import validate
from tasks.core.errors import UsageError
from tasks.orchestration.settings import TrainRunSettings
from tests.support.sample_files import files_below, photos


def test_workspace_may_lie_in_the_folder_of_the_images_but_not_be_it(tmp_path: Path) -> None:
    folder = photos(tmp_path / "pets", {"cat": 4, "dog": 4})
    before = files_below(folder)
    inside = TrainRunSettings.of({"dataset": str(folder), "workspace": folder / "workspace"})
    validate(inside)
    itself = TrainRunSettings.of({"dataset": str(folder), "workspace": folder})
    with pytest.raises(UsageError, match="--workspace is the folder of the images"):
        validate(itself)
    assert files_below(folder) == before
