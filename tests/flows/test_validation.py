"""What a run refuses before anything starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.validation import validate
from tasks.core.errors import UsageError
from tasks.orchestration.settings import TrainRunSettings
from tests.support.run_cli import ROOT
from tests.support.sample_files import files_below, photos, put


def test_workspace_may_lie_in_the_folder_of_the_images_but_not_be_it(tmp_path: Path) -> None:
    folder = photos(tmp_path / "pets", {"cat": 4, "dog": 4})
    before = files_below(folder)
    inside = TrainRunSettings.of({"dataset": str(folder), "workspace": folder / "workspace"})
    validate(inside)
    itself = TrainRunSettings.of({"dataset": str(folder), "workspace": folder})
    with pytest.raises(UsageError, match="--workspace is the folder of the images"):
        validate(itself)
    assert files_below(folder) == before


@pytest.mark.parametrize("below", [".", "sub/folder"])
def test_workspace_that_is_a_file_or_lies_below_one_is_refused(tmp_path: Path, below: str) -> None:
    """At once: the server, which is looked for later, takes seconds to start."""
    folder, file = photos(tmp_path / "pets", {"cat": 4, "dog": 4}), put(tmp_path / "FILE", b"")
    with pytest.raises(UsageError, match="there is no workspace") as error:
        validate(TrainRunSettings.of({"dataset": str(folder), "workspace": file / below}))
    assert error.value.parts["found"] == f"{file} is a file"


def test_workspace_that_the_system_refuses_to_look_at_ends_in_a_message(tmp_path: Path) -> None:
    """The first look, whether there are runs, comes before the one that explains such refusals."""
    command = [sys.executable, str(ROOT / "flows" / "__main__.py"), "train", "--workspace", "x" * 300]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "error: a name is too long for the file system" in done.stderr
    assert "Traceback" not in done.stderr
