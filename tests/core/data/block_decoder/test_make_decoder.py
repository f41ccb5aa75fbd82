"""`make decoder` builds the compiled decoder in place."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.data.block_decoder.conftest import FOLDER, ROOT

pytestmark = pytest.mark.slow


def test_make_decoder_builds_a_decoder_that_is_used(built: Path, tmp_path: Path) -> None:
    """`built` skips the test where there is no compiler."""
    if not shutil.which("make"):
        pytest.skip("no make")
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "tasks" / "core", tmp_path / "tasks" / "core", ignore=ignored)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (tmp_path / ".venv" / "installed").touch()
    done = subprocess.run(["make", "decoder"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "built" in done.stdout.splitlines()
    (found,) = (tmp_path / FOLDER).glob("_decoder*.so")
    assert found.name == built.name  # so that it takes the place of the one that `pip install` built
