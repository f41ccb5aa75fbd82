"""`plumbline reproduce` as a user runs it, after real runs."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.run_cli import Plumbline

pytestmark = pytest.mark.slow


@pytest.fixture
def plumbline(warm_plumbline: Plumbline) -> Plumbline:
    """Its commands run in forks."""
    return warm_plumbline


def reproduce(plumbline: Plumbline, run: str, workspace: Path) -> subprocess.CompletedProcess[str]:
    """Run `plumbline reproduce` for a run id or "last" of a workspace."""
    return plumbline.run("flows/__main__.py", "reproduce", run, "--workspace", workspace)


def test_reproduce_is_identical_from_any_folder_and_names_what_changed(
    plumbline: Plumbline, photos: Path
) -> None:
    """The run was started with a relative path, and is reproduced from another folder."""
    plumbline.ok("--dataset", photos.name, "--epochs", "1")
    (elsewhere := photos.parent / "elsewhere").mkdir()
    of_another_folder = replace(plumbline, workspace=elsewhere / "workspace")
    run, before = plumbline.runs().iloc[-1]["run_id"], plumbline.files()
    done = reproduce(of_another_folder, run, plumbline.workspace)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{run}: identical" in done.stdout
    assert "removed  the scratch workspace" in done.stdout  # the summary names files in it
    assert "differs" not in done.stdout
    assert plumbline.files() == before

    path = photos / "across" / "007.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    again = reproduce(plumbline, "last", plumbline.workspace)
    assert again.returncode in (3, 4), again.stdout + again.stderr
    assert "differs  download: 1 file edited" in again.stdout
    assert "identical" not in again.stdout

    photos.rename(photos.with_name("moved"))
    gone = reproduce(of_another_folder, "last", plumbline.workspace)
    assert gone.returncode == 2, gone.stdout + gone.stderr
    assert f"nothing at {photos}" in gone.stderr
    assert "move the images back" in gone.stderr
