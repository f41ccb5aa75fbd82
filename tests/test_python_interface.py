"""`import plumbline`: the page docs/python.md as it stands, in one process with a real server."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import plumbline
from plumbline.workspace import _rows
from tasks.core.errors import UsageError
from tests.docs import pages
from tests.support.run_cli import ROOT, Plumbline, photo
from tests.support.sample_files import put

PAGE = ROOT / "docs" / "python.md"


def test_import_brings_no_large_library() -> None:
    code = "import sys, plumbline; print({'prefect', 'pandas', 'tensorflow', 'typer'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUMBLINE_WORKSPACE", str(tmp_path))
    workspace = plumbline.open(tmp_path / "ws")
    assert workspace.location == str(tmp_path / "ws")
    assert workspace.models()[["dataset", "version", "test_accuracy"]].empty
    with pytest.raises(UsageError, match="no table runs"):
        workspace.table("runs")
    with pytest.raises(UsageError, match="there is no parameter epoch"):
        workspace.train(epoch=3)
    with pytest.raises(UsageError, match="epochs must be a number"):
        workspace.train(epochs="3")
    with pytest.raises(UsageError, match=r"recipe has no such choice(.|\n)*did you mean flash"):
        workspace.train(recipe="flsh")
    with pytest.raises(UsageError, match=r"least_recall must be a list(.|\n)*least_recall=\['a=0.5'\]"):
        workspace.train(least_recall="a=0.5")
    with pytest.raises(UsageError, match="exports has no such choice"):
        workspace.train(exports=["onnx", "tflite"])
    with pytest.raises(UsageError, match="drop_leaks must be True or False"):
        workspace.train(drop_leaks="no")
    with pytest.raises(UsageError, match=r"paths(.|\n)*ndarray"):
        workspace.predict(np.zeros((2, 8, 8, 3)))
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="there is no workspace"):
        plumbline.open(tmp_path / "file")


def test_predictions_of_no_image_have_their_columns(tmp_path: Path) -> None:
    put(tmp_path / "_quarantine.csv", b"path,reason,done")
    assert _rows(tmp_path)[["path", "predicted_class_name", "probability", "batch"]].empty


@pytest.mark.stress  # 20 CPU-seconds
def test_blocks_of_the_page_run_in_their_order(plumbline: Plumbline, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    photo(0, 1).convert("L").resize((8, 8)).save(tmp_path / "new" / "a.png")
    code = "\n".join(block.text for block in pages.blocks(PAGE) if block.language == "python")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | plumbline.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "% (95 % interval" in done.stdout
    assert "[champion]" in done.stdout
    assert "new/a.png" in done.stdout
