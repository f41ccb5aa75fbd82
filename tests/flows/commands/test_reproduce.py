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


def reproduce(plumbline: Plumbline, run: str) -> subprocess.CompletedProcess[str]:
    """Run `plumbline reproduce` for a run id or "last"."""
    return plumbline.run("flows/__main__.py", "reproduce", run, "--workspace", plumbline.workspace)


def test_reproduce_of_a_new_run_is_identical_and_a_changed_image_is_named(
    plumbline: Plumbline, photos: Path
) -> None:
    plumbline.ok("--dataset", photos, "--epochs", "1")
    run = plumbline.runs().iloc[-1]["run_id"]
    before = plumbline.files()
    done = reproduce(plumbline, run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{run}: identical" in done.stdout
    assert "removed  the scratch workspace" in done.stdout  # the summary names files in it
    assert "differs" not in done.stdout
    assert plumbline.files() == before

    path = photos / "across" / "007.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    again = reproduce(plumbline, "last")
    assert again.returncode in (3, 4), again.stdout + again.stderr
    assert "differs  download: 1 file edited" in again.stdout
    assert "identical" not in again.stdout


def test_reproduce_finds_a_relative_path_from_another_folder(plumbline: Plumbline, photos: Path) -> None:
    plumbline.ok("--dataset", photos.name, "--epochs", "1")
    (elsewhere := photos.parent / "elsewhere").mkdir()
    of_another_folder = replace(plumbline, workspace=elsewhere / "workspace")
    command = ("flows/__main__.py", "reproduce", "last", "--workspace", plumbline.workspace)
    done = of_another_folder.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": identical" in done.stdout

    photos.rename(photos.with_name("moved"))
    gone = of_another_folder.run(*command)
    assert gone.returncode == 2, gone.stdout + gone.stderr
    assert f"nothing at {photos}" in gone.stderr
    assert "move the images back" in gone.stderr
